"""Checks of workflows that act and wait; the actions are answered here, in place of the bot."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bot.voice.samples import GENERAL, LOUNGE, USER
from infra.verify.check import Check, Seen
from infra.verify.site import SUCCEEDED, Site
from infra.verify.tokens import signal, take_task
from infra.verify.users import BOT

_STAFF: Final = "127121515262115842"
_CARD: Final = {"channel_id": _STAFF, "message_id": "127121515262115843"}

Answers = Sequence[tuple[str, Mapping[str, Any]]]
_BEFORE: Final[Answers] = (("find_person", {"channel_id": GENERAL}), ("send", _CARD))
_AFTER: Final[Answers] = (("move", {"channel_id": LOUNGE}), ("edit", _CARD))
_ESCORT: Final[Answers] = (("list_channel", {"user_ids": [USER]}), ("mute", {}))


def _answer(site: Site, answers: Answers) -> None:
    """Answer the next actions; raises ValueError if another one is asked for."""
    states = site.client_as(BOT, "stepfunctions")
    for action, output in answers:
        task = take_task(site)
        asked = json.loads(task["input"])["action"]
        if asked != action:
            raise ValueError(f"the workflow asks for {asked}, not for {action}")
        states.send_task_success(taskToken=task["taskToken"], output=json.dumps(output))


def _escorted(site: Site) -> Seen:
    arn = site.start_sample("escort", parameters={"do": "mute", "wait_s": 0})
    _answer(site, _ESCORT)
    ended = site.finish(arn)
    did = json.loads(ended.get("output") or "{}").get("did")
    return Seen((ended["status"], did) == (SUCCEEDED, "mute"), f"{ended['status']}, did {did}")


def _admitted(site: Site) -> Seen:
    parameters = {"target_channel": LOUNGE, "staff_channel": _STAFF, "deciding_users": [USER]}
    arn = site.start_sample("admit", parameters=parameters)
    _answer(site, _BEFORE)
    by = {"kind": "user", "id": USER, "roles": [], "permissions": "0"}
    pressed = signal(site, arn, "admit", by)
    _answer(site, _AFTER)
    ended = site.finish(arn)
    outcome = json.loads(ended.get("output") or "{}").get("outcome")
    text = f"{pressed}; {ended['status']}, {outcome}"
    return Seen(text == "signalled; SUCCEEDED, admitted", text)


def _alive(site: Site) -> Seen:
    headers = {"execution-name": "verify"}
    statuses = [site.post("/workflows/heartbeat", {}, headers=headers).status for _ in range(2)]
    return Seen(statuses == [200, 200], ", ".join(map(str, statuses)))


CHECKS: Final = (
    Check("workflow heartbeat, twice with one name", "200, 200", _alive),
    Check("workflow escort", "SUCCEEDED, did mute", _escorted),
    Check("workflow admit", "signalled; SUCCEEDED, admitted", _admitted),
)
