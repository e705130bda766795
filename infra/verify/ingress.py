"""Checks of the ingress: who may call which route, and how API Gateway and Step Functions refuse."""

import secrets
from typing import Final

from infra.verify.check import Check, Seen
from infra.verify.site import Site, unique
from infra.verify.users import BOT, OPERATOR, STRANGER

_STATUS: Final = "/executions/status"
_STOP: Final = "/executions/stop"
_SIGNAL: Final = "/executions/signal"
_RELAY_WORKFLOWS: Final = ("notify", "digest", "heartbeat")
_FORBIDDEN: Final = '403 {"message":"Forbidden"}'
# Five minutes are allowed.
_TOO_OLD_S: Final = 1200.0
_IAM: Final = "https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-access-control-iam.html"
_START: Final = "https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html"
_MAPPING: Final = (
    "https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-parameter-mapping.html"
)


def _find_allowed(site: Site, who: str) -> tuple[set[str], set[str]]:
    """Return the routes that *who* may use, and those that refuse them; nothing is started."""
    own = [name for name in site.workflows if "StartPolicyArn" in site.workflows[name]]
    starts = [f"/workflows/{name}" for name in (*_RELAY_WORKFLOWS, *own)]
    arn = site.outputs["NotifyStateMachineArn"].replace(":stateMachine:", ":execution:") + ":none"
    bodies: dict[str, object] = {route: {} for route in (*starts, _SIGNAL)}
    bodies |= {route: {"executionArn": arn} for route in (_STATUS, _STOP)}
    # Without a name for the execution, a start is refused once the caller is admitted.
    refused = {route for route, body in bodies.items() if site.post(route, body, who=who).status == 403}
    return bodies.keys() - refused, refused


def _routes_of_bot(site: Site) -> Seen:
    _, refused = _find_allowed(site, BOT)
    return Seen(refused == {_STOP}, f"refused: {_render(refused)}")


def _routes_of_operator(site: Site) -> Seen:
    allowed, _ = _find_allowed(site, OPERATOR)
    return Seen(allowed == {_STATUS, _STOP}, f"allowed: {_render(allowed)}")


def _routes_of_stranger(site: Site) -> Seen:
    allowed, _ = _find_allowed(site, STRANGER)
    return Seen(not allowed, f"allowed: {_render(allowed)}")


def _no_policy(site: Site) -> Seen:
    answer = site.post(_STATUS, {}, who=STRANGER)
    return Seen(answer.describe() == _FORBIDDEN, answer.describe())


def _bad_signature(site: Site) -> Seen:
    answer = site.post(_STATUS, {}, secret=secrets.token_urlsafe(30))
    return Seen(answer.describe() == _FORBIDDEN, answer.describe())


def _old_signature(site: Site) -> Seen:
    answer = site.post(_STATUS, {}, age_s=_TOO_OLD_S)
    return Seen(answer.describe() == _FORBIDDEN, answer.describe())


def _date_of_refusal(site: Site) -> Seen:
    date = site.post(_STATUS, {}, who=STRANGER).headers.get("date")
    return Seen(date is not None, f"Date: {date}" if date else "no Date")


def _other_input(site: Site) -> Seen:
    name = unique()
    site.start("probe", {"try": "wait"}, name=name)
    answer = site.start("probe", {"try": "nothing"}, name=name)
    return Seen((answer.status, answer.error_type) == (400, "ExecutionAlreadyExists"), answer.describe())


def _no_name(site: Site) -> Seen:
    answer = site.post("/workflows/heartbeat", {})
    return Seen(answer.status == 400, answer.describe())


def _bad_name(site: Site) -> Seen:
    answer = site.start("heartbeat", {}, name="not a name")
    return Seen((answer.status, answer.error_type) == (400, "InvalidName"), answer.describe())


def _stop_without_arn(site: Site) -> Seen:
    statuses = [site.post(_STOP, body, who=OPERATOR).status for body in ({}, {"executionArn": {"a": 1}})]
    # An object is no ARN, or one of nothing that the ingress may stop.
    return Seen(statuses[0] == 400 and statuses[1] in (400, 403), ", ".join(map(str, statuses)))


def _bad_input(site: Site) -> Seen:
    answer = site.start("heartbeat", "{")
    expected = (400, "InvalidExecutionInput")
    return Seen((answer.status, answer.error_type) == expected, answer.describe())


def _render(routes: set[str]) -> str:
    return ", ".join(sorted(routes)) or "none"


CHECKS: Final = (
    Check("routes of the bot's user", "all but /executions/stop", _routes_of_bot, _IAM),
    Check("routes of an operator", "/executions/status and /executions/stop", _routes_of_operator, _IAM),
    Check("routes of a user without policy", "none", _routes_of_stranger, _IAM),
    Check("refusal for want of a policy", _FORBIDDEN, _no_policy, _IAM),
    Check("refusal of a bad signature", _FORBIDDEN, _bad_signature, _IAM),
    Check("refusal of an old signature", _FORBIDDEN, _old_signature, _IAM),
    Check("refusal says the time, for clocks that are off", "a Date header", _date_of_refusal),
    Check("start with a taken name and other input", "400 ExecutionAlreadyExists", _other_input, _START),
    Check("start without the header Execution-Name", "400", _no_name, _MAPPING),
    Check("start with an invalid name", "400 InvalidName", _bad_name, _START),
    Check(
        "stop without an ARN, and with an object for it", "400, and 400 or 403", _stop_without_arn, _MAPPING
    ),
    Check("start with what is not JSON", "400 InvalidExecutionInput", _bad_input, _START),
)
