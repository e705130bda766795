"""Checks of executions: each name once, in order, described, stopped, timed out and redriven."""

import json
from typing import Any, Final

from infra.verify.check import Check, Seen, Skipped
from infra.verify.site import RUNNING, Site, started, unique
from infra.verify.users import OPERATOR

_STATUS: Final = "/executions/status"
_START: Final = "https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html"
_REDRIVE: Final = "https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html"
_ACTIVITIES: Final = "https://docs.aws.amazon.com/step-functions/latest/dg/concepts-activities.html"


def _same_while_running(site: Site) -> Seen:
    name, body = unique(), {"try": "wait"}
    first, second = (started(site.start("probe", body, name=name)) for _ in range(2))
    return Seen(first == second, "the same execution" if first == second else "another execution")


def _same_after_end(site: Site) -> Seen:
    name = unique()
    site.finish(started(site.start("probe", {"try": "nothing"}, name=name)))
    answer = site.start("probe", {"try": "nothing"}, name=name)
    return Seen((answer.status, answer.error_type) == (400, "ExecutionAlreadyExists"), answer.describe())


def _same_value_other_text(site: Site) -> Seen:
    name = unique()
    started(site.start("probe", '{"try":"wait"}', name=name))
    answer = site.start("probe", '{ "try": "wait" }', name=name)
    return Seen((answer.status, answer.error_type) == (400, "ExecutionAlreadyExists"), answer.describe())


def _order(site: Site) -> Seen:
    times = [site.finish(site.probe("nothing"))["startDate"] for _ in range(3)]
    return Seen(times == sorted(times), "rising" if times == sorted(times) else f"{times}")


def _describe(site: Site, arn: str) -> Any:
    answer = site.post(_STATUS, {"executionArn": arn})
    if answer.status != 200:
        raise ValueError(f"the question was answered {answer.describe()}")
    return answer.json()


def _described(site: Site) -> Seen:
    arn = site.probe("nothing")
    site.finish(arn)
    envelope = _describe(site, arn)
    found = json.loads(envelope["output"]) if envelope["status"] == "SUCCEEDED" else envelope
    return Seen(found["status"] == "SUCCEEDED", f"{found['status']}")


def _described_unknown(site: Site) -> Seen:
    found = _describe(site, f"{site.probe('nothing').rpartition(':')[0]}:{unique()}")
    expected = ("FAILED", "ExecutionNotFound")
    return Seen((found["status"], found.get("error")) == expected, f"{found['status']} {found.get('error')}")


def _stopped(site: Site) -> Seen:
    arn = site.probe("wait")
    running = site.wait_for(lambda: site.describe(arn), f"the start of {arn}")["status"]
    answer = site.post("/executions/stop", {"executionArn": arn}, who=OPERATOR)
    if answer.status != 200:
        return Seen(False, answer.describe())
    ended = site.finish(arn)
    by = f"{site.stack}-{OPERATOR}" in ended.get("cause", "")
    text = f"{running}, then {ended['status']} {ended.get('error')}, {'with' if by else 'without'} the caller"
    return Seen((running, ended["status"], by) == (RUNNING, "ABORTED", True), text)


def _timed_out(site: Site) -> Seen:
    ended = site.finish(started(site.start("brief", {})), timeout_s=60)
    return Seen(ended["status"] == "TIMED_OUT", f"{ended['status']} {ended.get('error', '')}".rstrip())


def _redriven(site: Site) -> Seen:
    if site.is_embedded:
        raise Skipped("the embedded AWS has no redrive")
    arn = site.start_sample("notify", destination="missing")
    failed = site.finish(arn)
    if failed["status"] != "FAILED":
        return Seen(False, f"a post to a destination that does not exist: {failed['status']}")
    site.states.redrive_execution(executionArn=arn)

    def repeated() -> bool | None:
        # Right after the redrive, AWS may still describe the execution as it was before.
        events = site.states.get_execution_history(executionArn=arn)["events"]
        return sum(event["type"] == "TaskScheduled" for event in events) == 2 or None

    site.wait_for(repeated, "the task to be scheduled again")
    return Seen(True, "the task was scheduled 2 times")


def _failed_post(site: Site) -> Seen:
    ended = site.finish(site.start_sample("notify", destination="missing"))
    error = ended.get("error", "")
    return Seen(
        ended["status"] == "FAILED" and error in ("ApiGateway.403", "ApiGateway.404"),
        f"{ended['status']} {error} {ended.get('cause', '')}",
    )


CHECKS: Final = (
    Check("same name and input while it runs", "the same execution", _same_while_running, _START),
    Check("same name and input after its end", "400 ExecutionAlreadyExists", _same_after_end, _START),
    Check(
        "same name, input spaced differently", "400 ExecutionAlreadyExists", _same_value_other_text, _START
    ),
    Check("start times of executions one after another", "rising", _order),
    Check("status of an execution", "SUCCEEDED", _described),
    Check("status of an unknown execution", "FAILED ExecutionNotFound", _described_unknown),
    Check("stop as an operator", "RUNNING, then ABORTED, with the caller in its cause", _stopped),
    Check(
        "post to a destination that does not exist", "FAILED ApiGateway.403 or ApiGateway.404", _failed_post
    ),
    Check("redrive of a failed post", "the task was scheduled 2 times", _redriven, _REDRIVE),
    Check(
        "an action that no worker takes ends with the execution's time", "TIMED_OUT", _timed_out, _ACTIVITIES
    ),
)
