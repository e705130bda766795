"""``voice-relay send-test``: a made-up event the whole way, and how long each hop of it took.

There are two clocks. What happens on AWS is timed by AWS's, what happens here by this machine's, and no time
is made of both. How far they stand apart is told by the start, which fell between the request and its answer.
"""

import argparse
import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Final

from bot.api.client import ApiClient
from bot.api.executions import SUCCEEDED, Execution, Executions, follow
from bot.api.target import Target
from bot.cli.execution_arguments import TEST_TIMEOUT_S
from bot.cli.execution_view import explain_end, render_length
from bot.cli.sending import MadeUp, Sent, send_test
from bot.cli.status import ASK_AGAIN, Tell, tell_changes, waiting_for
from bot.errors import Rejected, SettingsError, TemporaryFailure
from bot.text import Answer, render_facts, render_time

Facts = list[tuple[str, str]]

POSTING: Final = frozenset({"notify", "digest"})
"""The workflows that end well only if Discord has taken the message."""
EXPRESS: Final = frozenset({"heartbeat"})
"""The workflows of which no record is kept."""
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Lines that are shown one after the other stand in one column all the same.
_NAMES_WIDTH: Final = len("execution")
_NO_RECORD: Final = (
    "it was accepted, but {} is an Express workflow, of which no record is kept: its end cannot be waited for"
)
_NO_WORKFLOW: Final = (
    "the API does not know the workflow {}: it is not deployed, or VOICE_RELAY_API_ENDPOINT is not the "
    "stack's ApiEndpoint"
)


def check_send_test(arguments: argparse.Namespace) -> None:
    """Raise SettingsError for names that can be none, and for options that make no sense together."""
    problems = [
        f"--{option} must be a name of letters, digits, - and _"
        for option in ("workflow", "destination")
        if not _NAME.fullmatch(getattr(arguments, option))
    ]
    if arguments.timeout is not None and not arguments.wait:
        problems.append("--timeout says how long to wait: give --wait as well")
    if problems:
        raise SettingsError(problems)


async def answer_send_test(
    arguments: argparse.Namespace,
    target: Target,
    tell: Tell,
    show: Callable[[str], object],
    *,
    deployed: bool = True,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> Answer:
    """Send the event and, if asked to, wait for its end; raises the DeliveryError that kept it from its way.

    *tell* gets a line about what gets in the way of waiting; *show* at once what is known before the end.
    On one machine, where nothing is *deployed*, an execution does not outlive the command.
    """
    async with ApiClient(target, max_connections=1) as api:
        # Looked up before the clock runs: that is no part of the way.
        await target.credentials.get()
        begun_s = monotonic_s()
        sent = await _send(api, arguments)
        if not arguments.wait:
            return Answer([sent.arn])
        if arguments.workflow in EXPRESS or ":execution:" not in sent.arn:
            return Answer([sent.arn], [_NO_RECORD.format(arguments.workflow)])
        _show_facts(show, tell_start(sent))
        executions, looks_s = Executions(api), [begun_s]
        timeout_s = TEST_TIMEOUT_S if arguments.timeout is None else arguments.timeout

        async def look() -> Execution:
            looks_s.append(monotonic_s())
            return await executions.describe(sent.arn)

        with waiting_for(sent.arn) if deployed else nullcontext():
            found = await follow(look, timeout_s=timeout_s, on_failure=tell_changes(tell), new=True)
    _show_facts(show, tell_hops(sent, found))
    if not found.ended:
        remedy = f"; {ASK_AGAIN.format(sent.arn)}" if deployed else ""
        return Answer([], [f"it has not ended in {timeout_s:g} s{remedy}"])
    now_s = monotonic_s()
    _show_facts(show, tell_end(arguments.workflow, found, now_s - begun_s, now_s - looks_s[-2]))
    return Answer([], explain_end(found, deployed=deployed))


def tell_start(sent: Sent) -> Facts:
    """Return the way to the execution."""
    return [
        ("execution", sent.arn),
        ("request", f"accepted in {sent.request_s * 1000:.0f} ms, with the set-up of the connection"),
    ]


def tell_hops(sent: Sent, found: Execution) -> Facts:
    """Return the way through the execution as far as it got."""
    clocks = compare_clocks(sent, found.started_ms)
    facts = [("started", f"{render_time(found.started_ms)} by AWS's clock, which {clocks}")]
    if found.ended_ms is not None:
        length = render_length(found.ended_ms - found.started_ms)
        facts.append(("ended", f"{render_time(found.ended_ms)} by AWS's clock, after {length}"))
    return facts


def tell_end(workflow: str, found: Execution, whole_s: float, late_s: float) -> Facts:
    """Return how it ended, and that this was seen *whole_s* after the sending, up to *late_s* late."""
    taken = found.status == SUCCEEDED and workflow in POSTING
    return [
        ("result", f"{found.status}: Discord has taken the message" if taken else found.status),
        (
            "in all",
            f"{whole_s:.3f} s by this machine's clock, until the end was seen: up to {late_s:.3f} s late",
        ),
    ]


def compare_clocks(sent: Sent, started_ms: int) -> str:
    """Say how AWS's clock stands to this machine's: the start fell between the request and its answer."""
    least_ms, most_ms = started_ms - sent.accepted_ms, started_ms - sent.sent_ms
    within = f"to within {(most_ms - least_ms) / 2000:.3f} s"
    if least_ms <= 0 <= most_ms:
        return f"agrees with this machine's {within}"
    middle_ms = (least_ms + most_ms) / 2
    side = "ahead of" if middle_ms > 0 else "behind"
    return f"is {abs(middle_ms) / 1000:.3f} s {side} this machine's, {within}"


def _show_facts(show: Callable[[str], object], facts: Facts) -> None:
    for line in render_facts(facts, width=_NAMES_WIDTH):
        show(line)


async def _send(api: ApiClient, arguments: argparse.Namespace) -> Sent:
    event = MadeUp(arguments.guild_id, arguments.channel_id, arguments.user_id)
    try:
        return await send_test(api, event, workflow=arguments.workflow, destination=arguments.destination)
    except TemporaryFailure as error:
        if error.status == 404:
            raise Rejected(_NO_WORKFLOW.format(arguments.workflow), status=404) from None
        raise
