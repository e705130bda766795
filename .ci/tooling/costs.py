"""What the relay costs at AWS; ``make docs`` writes its tables into infra/README.md.

Prices are those of us-east-1 in US dollars, without free tiers, as found in the month PRICES_FOUND. Tests
measure the number of state transitions and the length of the log lines on the real definitions.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bot.delivery.polls import POLL_CAP_S, POLL_FIRST_S, POLL_GROWTH
from workflow.registry import max_events

PRICES_FOUND: Final = "2026-11"

# https://aws.amazon.com/api-gateway/pricing/, the first 300 million
HTTP_API_REQUEST: Final = 1.00 / 1_000_000
# https://aws.amazon.com/step-functions/pricing/
STANDARD_TRANSITION: Final = 0.025 / 1_000
EXPRESS_REQUEST: Final = 1.00 / 1_000_000
EXPRESS_GB_S: Final = 0.00001667
# https://aws.amazon.com/dynamodb/pricing/on-demand/
ROW_WRITTEN: Final = 0.625 / 1_000_000
ROW_READ: Final = 0.125 / 1_000_000
# https://aws.amazon.com/cloudwatch/pricing/
LOG_GB: Final = 0.50
ALARM_MONTH: Final = 0.10
COMPOSITE_ALARM_MONTH: Final = 0.50
CUSTOM_METRIC_MONTH: Final = 0.30
DASHBOARD_MONTH: Final = 3.00
# https://aws.amazon.com/kms/pricing/
KEY_MONTH: Final = 1.00
# https://aws.amazon.com/secrets-manager/pricing/
SECRET_MONTH: Final = 0.40

# AWS bills a transition for each step, each retry and, as its own examples count, the start.
START_TRANSITIONS: Final = 1
_EXPRESS_GB: Final = 64 / 1024
_EXPRESS_STEP_S: Final = 0.1
_EXPRESS_RUN: Final = EXPRESS_REQUEST + _EXPRESS_GB * _EXPRESS_STEP_S * EXPRESS_GB_S
_MONTH_S: Final = 30 * 24 * 3600


@dataclass(frozen=True)
class Usage:
    """The resources that one execution of a workflow uses.

    *states* counts the states entered, and each retry again; *posts* counts its requests to the webhook
    proxy; *log_bytes* is a line in an API's access log; *seconds* is how long it runs, and is followed.
    """

    states: int
    posts: int
    log_bytes: int
    seconds: float


def polls(seconds: float) -> int:
    """Return how often an execution that runs for so long is polled, the poll that finds its end included."""
    count, wait_s, asked_s = 1, POLL_FIRST_S, POLL_FIRST_S
    while asked_s < seconds:
        wait_s = min(POLL_CAP_S, wait_s * POLL_GROWTH)
        asked_s += wait_s
        count += 1
    return count


def event_costs(usage: Usage, *, events: int, events_per_execution: int) -> dict[str, float]:
    """Return the dollars for *events* in batches of *events_per_execution*, by service."""
    executions = math.ceil(events / events_per_execution)
    return {
        "ingress API": executions * HTTP_API_REQUEST,
        "Step Functions": executions * (usage.states + START_TRANSITIONS) * STANDARD_TRANSITION,
        "proxy API": executions * usage.posts * HTTP_API_REQUEST,
        "following": executions * polls(usage.seconds) * (HTTP_API_REQUEST + _EXPRESS_RUN),
        "access logs": executions * _log_lines(usage) * usage.log_bytes / 1024**3 * LOG_GB,
    }


def express_costs(usage: Usage, *, events: int, events_per_execution: int) -> dict[str, float]:
    """Return the dollars for the same in a synchronous Express workflow, which is not what the relay uses.

    Two rows written for each execution make its name an idempotency key, and its history is in a log.
    """
    executions = math.ceil(events / events_per_execution)
    billed_s = math.ceil(usage.seconds / _EXPRESS_STEP_S) * _EXPRESS_STEP_S
    log_bytes = (1 + usage.posts) * usage.log_bytes + _EXPRESS_LOG_BYTES
    return {
        "ingress API": executions * HTTP_API_REQUEST,
        "Step Functions": executions * (EXPRESS_REQUEST + _EXPRESS_GB * billed_s * EXPRESS_GB_S),
        "rows": executions * 2 * ROW_WRITTEN,
        "proxy API": executions * usage.posts * HTTP_API_REQUEST,
        "logs": executions * log_bytes / 1024**3 * LOG_GB,
    }


def _log_lines(usage: Usage) -> int:
    """One for each request: the start, the polls and the posts."""
    return 1 + polls(usage.seconds) + usage.posts


def signal_costs(signals: int) -> dict[str, float]:
    """Return the dollars for *signals*, each with the row of its wait."""
    billed_s = math.ceil(_SIGNAL_S / _EXPRESS_STEP_S) * _EXPRESS_STEP_S
    return {
        "ingress API": signals * HTTP_API_REQUEST,
        "Step Functions": signals * (EXPRESS_REQUEST + _EXPRESS_GB * billed_s * EXPRESS_GB_S),
        # Written by the execution and by the signal, and read once.
        "rows": signals * (2 * ROW_WRITTEN + ROW_READ),
    }


def heartbeat_month(every_s: float) -> float:
    """Return the dollars a month for one bot's heartbeat: a request and an Express execution each time."""
    beats = _MONTH_S / every_s
    return beats * (HTTP_API_REQUEST + _EXPRESS_RUN)


def monitoring_month(resources: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[int, float]]:
    """Return how many of each kind are among *resources*, and their cost in dollars a month."""
    kinds = [resource["Type"] for resource in resources.values()]
    return {
        name: (kinds.count(kind), kinds.count(kind) * price)
        for name, kind, price in (
            ("alarms", "AWS::CloudWatch::Alarm", ALARM_MONTH),
            ("composite alarms", "AWS::CloudWatch::CompositeAlarm", COMPOSITE_ALARM_MONTH),
            ("metrics from logs", "AWS::Logs::MetricFilter", CUSTOM_METRIC_MONTH),
            ("dashboard", "AWS::CloudWatch::Dashboard", DASHBOARD_MONTH),
            ("key of the topic", "AWS::KMS::Key", KEY_MONTH),
        )
    }


# About eight events of the history, without the data.
_EXPRESS_LOG_BYTES: Final = 3_000
_SIGNAL_S: Final = 0.3
"""An assumption: three calls to services, one after another."""
_POST_S: Final = 0.6
"""An assumption: Step Functions' own steps and Discord's answer."""
NOTIFY: Final = Usage(states=1, posts=1, log_bytes=380, seconds=_POST_S)
"""The common case: one message, accepted at once. A test pins its figures."""
DIGEST: Final = Usage(states=2, posts=1, log_bytes=380, seconds=300 + _POST_S)
"""With the template's own delay."""
REPORT: Final = Usage(states=2, posts=0, log_bytes=380, seconds=_POST_S)
"""A call that needs no new token. Step Functions bills it as a state, and the connection costs nothing."""
ADMISSION: Final = 10
"""States that somebody goes through who is admitted at once. A test pins the number."""
_USAGE: Final = {"notify": NOTIFY, "digest": DIGEST, "report": REPORT}
_FULL_BATCH: Final = 320
"""So many events of 640 bytes have 200 KiB, where the workflow sets no lower limit."""


def render_events(usage: Usage, *, busy: int) -> Iterator[str]:
    """Yield a Markdown table of what 1,000 and 1,000,000 events cost, one by one and in full batches."""
    cases = [(events, size) for events in (1_000, 1_000_000) for size in sorted({1, busy})]
    costs = [event_costs(usage, events=events, events_per_execution=size) for events, size in cases]
    heads = (f"{events:,}, {'one by one' if size == 1 else f'{size} at a time'}" for events, size in cases)
    yield f"| events | {' | '.join(heads)} |"
    yield "|---|" + "---:|" * len(cases)
    for name in costs[0]:
        yield f"| {name} | {' | '.join(_dollars(cost[name]) for cost in costs)} |"
    yield f"| **together** | {' | '.join(f'**{_dollars(sum(cost.values()))}**' for cost in costs)} |"


def _dollars(amount: float) -> str:
    """Return *amount* with at least two significant digits and at least cents."""
    if amount == 0:
        return "$0.00"
    digits = 2 if amount >= 1 else min(6, 1 - math.floor(math.log10(amount)))
    return f"${amount:,.{max(2, digits)}f}"


def render_signals() -> Iterator[str]:
    """Yield a Markdown table of what 1,000 and 1,000,000 signals cost."""
    few, many = signal_costs(1_000), signal_costs(1_000_000)
    yield "| signals | 1,000 | 1,000,000 |"
    yield "|---|---:|---:|"
    for name in few:
        yield f"| {name} | {_dollars(few[name])} | {_dollars(many[name])} |"
    yield f"| **together** | **{_dollars(sum(few.values()))}** | **{_dollars(sum(many.values()))}** |"


def admission_cost() -> float:
    """Return the dollars for somebody who is admitted by a press: the execution, and its signal."""
    transitions = (ADMISSION + START_TRANSITIONS) * STANDARD_TRANSITION
    return HTTP_API_REQUEST + transitions + sum(signal_costs(1).values())


def render_months(monitoring: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a Markdown table of the costs of an idle month."""
    yield "| a month, whatever happens | |"
    yield "|---|---:|"
    yield f"| heartbeat every 60 s | {_dollars(heartbeat_month(60))} |"
    yield f"| secret with the webhooks | {_dollars(SECRET_MONTH)} |"
    # AWS includes the secret behind a connection for API destinations; for workflows its pages say nothing.
    pair, with_login = 2 * SECRET_MONTH, 3 * SECRET_MONTH
    yield f"| each connection: 2 secrets, 3 with a login | {_dollars(pair)} to {_dollars(with_login)} |"
    for name, (count, cost) in monitoring_month(monitoring).items():
        yield f"| monitoring: {f'{count} ' if count > 1 else ''}{name} | {_dollars(cost)} |"


def render(monitoring: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield every table; *monitoring* are the resources of monitoring.yaml."""
    for name, usage in _USAGE.items():
        yield from (f"`{name}`:", "", *render_events(usage, busy=min(max_events(name), _FULL_BATCH)), "")
    yield from (*render_signals(), "")
    yield from (
        f"`admit`: {_dollars(1_000 * admission_cost())} for 1,000 people who are admitted at once.",
        "",
    )
    yield from render_months(monitoring)
