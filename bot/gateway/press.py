"""Reads a press of a button from an INTERACTION_CREATE, and says what came of it in a sentence. Pure.

A button that a workflow has sent carries what it means (``bot/button.py``). Any other belongs to another
program of the same application, or is unreadable: it is left alone, with a reason for the log.
"""

# https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-object

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bot.api.signals import Answer, Decider, Outcome, Sender
from bot.button import parse_button
from bot.voice.payloads import Payload, parse_id

_MESSAGE_COMPONENT: Final = 3
_BUTTON: Final = 2
# It becomes part of a path, so nothing else may be in it.
_TOKEN: Final = re.compile(r"[\w.=-]{1,1000}", re.ASCII)
_BITS: Final = re.compile(r"[0-9]{1,20}")
_ROLES_MAX: Final = 250
"""A guild has no more."""


@dataclass(frozen=True)
class Press:
    """Who pressed which button; ``sender`` is what decides whether they may, as Discord computed it."""

    id: str
    token: str
    application_id: str
    signal: str
    execution: str
    sender: Sender
    message: Mapping[str, str]


class NotAPress(Exception):
    """An interaction that is not for the relay; the text says why, and has nothing of its content."""


def parse_press(payload: Payload) -> Press:
    """Return the press of a workflow's button; raises NotAPress."""
    if payload.get("type") != _MESSAGE_COMPONENT:
        raise NotAPress("not a component of a message")
    data = _object(payload, "data")
    if data.get("component_type") != _BUTTON:
        raise NotAPress("not a button")
    custom_id = data.get("custom_id")
    button = parse_button(custom_id) if isinstance(custom_id, str) else None
    if button is None:
        raise NotAPress("not a button of a workflow")
    interaction_id, application_id = parse_id(payload.get("id")), parse_id(payload.get("application_id"))
    token = payload.get("token")
    if interaction_id is None or application_id is None:
        raise NotAPress("an interaction without ids")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise NotAPress("an interaction without a token")
    return Press(
        interaction_id,
        token,
        application_id,
        button.signal,
        button.execution,
        _parse_sender(payload),
        _parse_message(payload),
    )


def _parse_sender(payload: Payload) -> Sender:
    """Return who pressed; in a private channel nobody has roles or permissions."""
    member = _object(payload, "member")
    user_id = parse_id((_object(member, "user") or _object(payload, "user")).get("id"))
    if user_id is None:
        raise NotAPress("an interaction of an unknown user")
    roles, permissions = member.get("roles"), member.get("permissions")
    known = [parse_id(role) for role in roles] if isinstance(roles, list) else []
    return Sender(
        "user",
        user_id,
        [role for role in known if role is not None][:_ROLES_MAX],
        permissions if isinstance(permissions, str) and _BITS.fullmatch(permissions) else None,
        parse_id(payload.get("channel_id")),
    )


def _parse_message(payload: Payload) -> Mapping[str, str]:
    """Return where the button was: the guild, the channel and the message, as far as known."""
    ids = {
        "guild_id": parse_id(payload.get("guild_id")),
        "channel_id": parse_id(payload.get("channel_id")),
        "message_id": parse_id(_object(payload, "message").get("id")),
    }
    return {key: value for key, value in ids.items() if value is not None}


def _object(payload: Payload, key: str) -> Payload:
    value = payload.get(key)
    return value if isinstance(value, dict) else {}


SIGNALLED: Final = "Your decision counts. The workflow goes on."
NOT_WAITING: Final = "Nothing waits for this decision any more."
NOT_ALLOWED: Final = "You may not decide this."
UNREACHABLE: Final = "The workflow cannot be reached right now. Press again in a minute."
REFUSED: Final = "The relay cannot pass this on. Please tell its operator: the reason is in its log."
STOPPING: Final = "The relay is restarting. Press again in a minute."
UNDERWAY: Final = "Your last press is still on its way."

_SENTENCES: Final = {
    Outcome.SIGNALLED: SIGNALLED,
    Outcome.NOT_WAITING: NOT_WAITING,
    Outcome.NOT_ALLOWED: NOT_ALLOWED,
}


def describe(answer: Answer, press: Press) -> str:
    """Return the sentence for the one who pressed."""
    if answer.outcome is Outcome.ALREADY_DECIDED:
        # https://docs.discord.com/developers/reference#message-formatting-timestamp-styles
        since = "" if answer.at_ms is None else f" <t:{answer.at_ms // 1000}:R>"
        return f"{_name(answer.by, press)} already decided this{since}."
    return _SENTENCES[answer.outcome]


def _name(by: Decider | None, press: Press) -> str:
    user_id = None if by is None else parse_id(by.id)
    if by is not None and by.kind == "user" and user_id is not None:
        return "You" if user_id == press.sender.id else f"<@{user_id}>"
    return "An operator" if by is not None and by.kind == "operator" else "The relay"
