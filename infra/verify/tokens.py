"""Checks of what waits for a token: signals, the bot's activity, and who may send a task's success."""

import json
from typing import Any, Final

import botocore.exceptions

from infra.deploy.aws_errors import error_code
from infra.verify.check import Check, Seen, Skipped
from infra.verify.site import Answer, Site, unique
from infra.verify.users import ANY, BOT, OF_ACTIVITY, OF_MACHINE, STRANGER

_SIGNAL: Final = "/executions/signal"
_RELAY: Final = {"kind": "relay"}
_DENIED: Final = "AccessDeniedException"
_DONE: Final = "accepted"
_POLL: Final = "https://docs.aws.amazon.com/step-functions/latest/apireference/API_GetActivityTask.html"
_HEARTBEAT: Final = "https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html"
_ACTIONS: Final = (
    "https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsstepfunctions.html"
)


def signal(site: Site, arn: str, name: str, by: object = _RELAY) -> Any:
    """Send the signal as the bot, and return its outcome; not_waiting is asked again until it is not."""

    def send() -> Any:
        found = _outcome(_post_signal(site, arn.rpartition(":")[2], name, by))
        return found if found != "not_waiting" else None

    return site.wait_for(send, f"{arn} to wait for a signal")


def _post_signal(site: Site, execution: str, name: str, by: object) -> Answer:
    return site.post(_SIGNAL, {"name": execution, "signal": name, "by": by})


def _outcome(answer: Answer) -> str:
    envelope = answer.json()
    if envelope.get("status") != "SUCCEEDED":
        return answer.describe()
    return str(json.loads(envelope["output"])["outcome"])


def _signalled(site: Site) -> Seen:
    arn = site.probe("wait")
    outcomes = [
        signal(site, arn, "go", {"kind": "operator"}),
        signal(site, arn, "go"),
        signal(site, arn, "go"),
    ]
    status = site.finish(arn)["status"]
    text = f"{', '.join(outcomes)}; {status}"
    return Seen(text == "not_allowed, signalled, already_decided; SUCCEEDED", text)


def _not_waiting(site: Site) -> Seen:
    outcome = _outcome(_post_signal(site, unique(), "go", _RELAY))
    return Seen(outcome == "not_waiting", outcome)


def take_task(site: Site, who: str = BOT) -> Any:
    """Take the next action, as the bot's worker does."""
    states = site.client_as(who, "stepfunctions")
    return states.get_activity_task(activityArn=site.outputs["ActionsActivityArn"], workerName="verify")


def _took_task(site: Site) -> Seen:
    arn = site.probe("act")
    task = take_task(site)
    key = json.loads(task["input"])["key"]
    states = site.client_as(BOT, "stepfunctions")
    states.send_task_heartbeat(taskToken=task["taskToken"])
    states.send_task_success(taskToken=task["taskToken"], output='{"done": true}')
    ended = site.finish(arn)
    text = f"{'its' if arn.endswith(key) else 'another'} task; {ended['status']}"
    return Seen(text == "its task; SUCCEEDED", text)


def _failed_task(site: Site) -> Seen:
    arn = site.probe("act")
    states = site.client_as(BOT, "stepfunctions")
    token = take_task(site)["taskToken"]
    states.send_task_failure(taskToken=token, error="Discord.MissingPermissions", cause="verify")
    ended = site.finish(arn)
    text = f"{ended['status']} {ended.get('error')}"
    return Seen(text == "FAILED Discord.MissingPermissions", text)


def _silent_worker(site: Site) -> Seen:
    arn = site.probe("act soon")
    take_task(site)
    ended = site.finish(arn)
    # Documentation and recordings of AWS disagree on the name.
    timed_out = ended.get("error") in ("States.Timeout", "States.HeartbeatTimeout")
    return Seen(ended["status"] == "FAILED" and timed_out, f"{ended['status']} {ended.get('error')}")


def _used_token(site: Site) -> Seen:
    arn = site.probe("act")
    states = site.client_as(BOT, "stepfunctions")
    token = take_task(site)["taskToken"]
    states.send_task_success(taskToken=token, output="{}")
    site.finish(arn)
    code = _send_success(site, BOT, token)
    return Seen(code in ("TaskTimedOut", "TaskDoesNotExist"), code)


def _polled_by_stranger(site: Site) -> Seen:
    try:
        take_task(site, STRANGER)
    except botocore.exceptions.ClientError as error:
        return Seen(error_code(error) == _DENIED, error_code(error))
    return Seen(False, "an answer")


def _empty_poll(site: Site) -> Seen:
    if site.is_embedded:
        raise Skipped("a poll without a task takes a minute; the relay's own tests make one")
    task = take_task(site)
    return Seen(not task.get("taskToken"), "no token" if not task.get("taskToken") else "a token")


def _send_success(site: Site, who: str, token: str) -> str:
    """Send the success as *who*, and return what AWS says to it."""
    try:
        site.client_as(who, "stepfunctions").send_task_success(taskToken=token, output="{}")
    except botocore.exceptions.ClientError as error:
        return error_code(error)
    return _DONE


def _sent_as(site: Site, who: str) -> str:
    arn = site.probe("act")
    token = take_task(site)["taskToken"]
    result = _send_success(site, who, token)
    if result != _DONE:
        _send_success(site, BOT, token)
    site.finish(arn)
    return result


def _sent_for_activity(site: Site) -> Seen:
    result = _sent_as(site, OF_ACTIVITY)
    return Seen(result == _DENIED, result)


def _sent_for_machine(site: Site) -> Seen:
    result = _sent_as(site, OF_MACHINE)
    return Seen(result == _DENIED, result)


def _sent_for_any(site: Site) -> Seen:
    result = _sent_as(site, ANY)
    return Seen(result == _DONE, result)


CHECKS: Final = (
    Check(
        "signals: of a wrong sender, of the right one, again",
        "not_allowed, signalled, already_decided; SUCCEEDED",
        _signalled,
    ),
    Check("signal to an execution that does not wait", "not_waiting", _not_waiting),
    Check("action taken and done by the bot's user", "its task; SUCCEEDED", _took_task, _POLL),
    Check("action that the bot's user fails", "FAILED Discord.MissingPermissions", _failed_task, _POLL),
    Check(
        "action whose worker falls silent",
        "FAILED States.Timeout or States.HeartbeatTimeout",
        _silent_worker,
        _HEARTBEAT,
    ),
    Check("token of an action that is done", "TaskTimedOut or TaskDoesNotExist", _used_token),
    Check("poll for an action without a policy", _DENIED, _polled_by_stranger, _POLL),
    Check("poll without an action", "no token", _empty_poll, _POLL),
    Check("SendTaskSuccess allowed for the activity", _DENIED, _sent_for_activity, _ACTIONS),
    Check("SendTaskSuccess allowed for the state machine", _DENIED, _sent_for_machine, _ACTIONS),
    Check("SendTaskSuccess allowed for *", _DONE, _sent_for_any, _ACTIONS),
)
