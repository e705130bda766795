"""Every action: what it is given, what it does, and which permission it needs of Discord.

Each may come twice, for a worker may die after the deed and before its report. All but messages lead to a
state that can be set twice; a message carries a nonce, by which Discord finds the first one for some minutes.
"""

# https://docs.discord.com/developers/resources/guild#modify-guild-member
# https://docs.discord.com/developers/resources/message
# https://docs.discord.com/developers/resources/voice#get-user-voice-state

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from bot.actions.asked import (
    Asked,
    Editing,
    Leaving,
    Moving,
    OfChannel,
    OfMessage,
    OfPerson,
    OfRole,
    Sending,
    SendingDirect,
    Switching,
)
from bot.actions.message import build_edit, build_new
from bot.actions.people import People
from bot.actions.refusal import BAD_INPUT, NOT_IN_VOICE, UNKNOWN_MESSAGE, ActionError, not_discord
from bot.actions.rest import Rest
from bot.voice.payloads import parse_id

Output = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Means:
    """What actions act with; a request may begin until ``until_s`` of the loop's time."""

    rest: Rest
    people: People
    until_s: float

    async def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, reason: str | None = None
    ) -> dict[str, Any]:
        return await self.rest.request(method, path, body, until_s=self.until_s, reason=reason)


async def _find_person(means: Means, asked: OfPerson) -> Output:
    return {"channel_id": await _find(means, asked)}


async def _find(means: Means, asked: OfPerson) -> str | None:
    """Return the person's voice channel; Discord is asked where another process watches, or none just now."""
    try:
        return means.people.find(asked.guild_id, asked.user_id)
    except LookupError:
        path = f"/guilds/{asked.guild_id}/voice-states/{asked.user_id}"
    try:
        state = await means.request("GET", path)
    except ActionError as error:
        if error.name != NOT_IN_VOICE:
            raise
        return None
    if "channel_id" not in state:
        raise not_discord()
    return parse_id(state["channel_id"])


async def _list_channel(means: Means, asked: OfChannel) -> Output:
    return {"user_ids": await means.people.list(asked.guild_id, asked.channel_id)}


async def _move(means: Means, asked: Moving) -> Output:
    if asked.from_channel_id is None:
        done = means.people.is_in(asked.guild_id, asked.user_id, asked.channel_id)
    else:
        place = await _find(means, asked)
        done = place == asked.channel_id
        if not done:
            _check_place(asked, place)
    # Done already, by an earlier worker or by hand: Discord's audit log needs no second entry.
    if not done:
        await _change_member(means, asked, {"channel_id": asked.channel_id})
    return {"channel_id": asked.channel_id}


async def _disconnect(means: Means, asked: Leaving) -> Output:
    if asked.from_channel_id is not None:
        _check_place(asked, await _find(means, asked))
    try:
        await _change_member(means, asked, {"channel_id": None})
    except ActionError as error:
        if error.name != NOT_IN_VOICE:
            raise
    return {}


async def _mute(means: Means, asked: Switching) -> Output:
    return await _change_member(means, asked, {"mute": asked.on})


async def _deafen(means: Means, asked: Switching) -> Output:
    return await _change_member(means, asked, {"deaf": asked.on})


def _check_place(asked: Leaving, place: str | None) -> None:
    """Raise ActionError if the person, in *place* now, has left the channel that the workflow knew."""
    if place != asked.from_channel_id:
        raise ActionError(NOT_IN_VOICE, "the person is not in from_channel_id any more")


async def _change_member(means: Means, asked: OfPerson, change: Mapping[str, Any]) -> Output:
    path = f"/guilds/{asked.guild_id}/members/{asked.user_id}"
    await means.request("PATCH", path, change, reason=asked.reason)
    return {}


async def _change_role(means: Means, asked: OfRole, *, method: str) -> Output:
    path = f"/guilds/{asked.guild_id}/members/{asked.user_id}/roles/{asked.role_id}"
    await means.request(method, path, reason=asked.reason)
    return {}


async def _send(means: Means, asked: Sending) -> Output:
    body = _built(build_new, asked.message, asked.execution, asked.key)
    return await _post(means, asked.channel_id, body)


async def _direct_message(means: Means, asked: SendingDirect) -> Output:
    body = _built(build_new, asked.message, asked.execution, asked.key)
    channel = await means.request("POST", "/users/@me/channels", {"recipient_id": asked.user_id})
    return await _post(means, _id_of(channel), body)


async def _post(means: Means, channel_id: str, body: Mapping[str, Any]) -> Output:
    sent = await means.request("POST", f"/channels/{channel_id}/messages", body)
    return {"channel_id": channel_id, "message_id": _id_of(sent)}


def _id_of(answer: Mapping[str, Any]) -> str:
    found = parse_id(answer.get("id"))
    if found is None:
        raise not_discord()
    return found


async def _edit(means: Means, asked: Editing) -> Output:
    body = _built(build_edit, asked.message, asked.execution)
    await means.request("PATCH", f"/channels/{asked.channel_id}/messages/{asked.message_id}", body)
    return {"channel_id": asked.channel_id, "message_id": asked.message_id}


async def _delete(means: Means, asked: OfMessage) -> Output:
    path = f"/channels/{asked.channel_id}/messages/{asked.message_id}"
    try:
        await means.request("DELETE", path, reason=asked.reason)
    except ActionError as error:
        if error.name != UNKNOWN_MESSAGE:
            raise
    return {}


def _built(build: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    try:
        return build(*given)
    except ValueError as error:
        raise ActionError(BAD_INPUT, f"message.buttons: {error}") from None


_A = TypeVar("_A", bound=Asked)


@dataclass(frozen=True, slots=True)
class Action:
    """``permissions`` are the bot's in Discord, as its settings call them."""

    asked: type[Asked]
    perform: Callable[[Means, Any], Awaitable[Output]]
    permissions: str = ""


def _action(
    asked: type[_A], perform: Callable[[Means, _A], Awaitable[Output]], permissions: str = ""
) -> Action:
    return Action(asked, perform, permissions)


_POST: Final = "View Channel, Send Messages"

ACTIONS: Final[Mapping[str, Action]] = {
    "find_person": _action(OfPerson, _find_person),
    "list_channel": _action(OfChannel, _list_channel),
    "move": _action(Moving, _move, "Move Members, and Connect to both channels"),
    "disconnect": _action(Leaving, _disconnect, "Move Members"),
    "mute": _action(Switching, _mute, "Mute Members"),
    "deafen": _action(Switching, _deafen, "Deafen Members"),
    "add_role": _action(OfRole, partial(_change_role, method="PUT"), "Manage Roles, above the role"),
    "remove_role": _action(OfRole, partial(_change_role, method="DELETE"), "Manage Roles, above the role"),
    "send": _action(Sending, _send, f"{_POST}; Mention All Roles, for roles that not everyone may mention"),
    "edit": _action(Editing, _edit, "View Channel"),
    "delete": _action(OfMessage, _delete, "View Channel; Manage Messages, for others' messages"),
    "direct_message": _action(SendingDirect, _direct_message),
}
