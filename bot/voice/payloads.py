"""Reads what the relay needs from Discord's gateway payloads, and tolerates what is missing.

A field that is absent, null or of the wrong type is read as unknown, never as an error: an unreadable payload
would be a lost transition. Where what remains could only be guessed, such as a person's channel, it raises
UnreadableError, and that channel or person alone is skipped.
"""

# https://docs.discord.com/developers/resources/voice and .../resources/channel

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import product
from operator import itemgetter
from typing import Any, Final

from bot.voice.events import Channel, ChannelKind, User
from bot.voice.occupancy import FLAGS, Occupant

Payload = dict[str, Any]

_KINDS: dict[Any, ChannelKind] = {2: "voice", 13: "stage"}
_OBFUSCATED = 1 << 17
"""The channel flag for a channel whose name and other details are withheld from the bot."""

_FLAG_BITS: Final = {name: 1 << bit for bit, name in enumerate(FLAGS)}

# Discord sends all but this one always. Six are read in one step, because this is done for every frame.
_OPTIONAL_FLAG: Final = "self_stream"
_SENT_FLAGS: Final = tuple(name for name in FLAGS if name != _OPTIONAL_FLAG)
_read_sent_flags = itemgetter(*_SENT_FLAGS)
_BITS_OF_SENT: Final = {
    values: sum(_FLAG_BITS[name] for name, value in zip(_SENT_FLAGS, values, strict=True) if value)
    for values in product((False, True), repeat=len(_SENT_FLAGS))
}
UNKNOWN_USER: Final = "voice state of an unknown user"
_ABSENT: Final = object()


class UnreadableError(ValueError):
    """A channel or voice state of an unknown shape; the text has its id, and nothing else of it."""


def parse_id(value: object) -> str | None:
    """Return a snowflake as a string of digits, or ``None`` if *value* is not one."""
    if isinstance(value, str):
        return value if value.isascii() and value.isdecimal() and len(value) <= 20 else None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64:
        return str(value)
    return None


def shard_of(guild_id: str, shard_count: int) -> int:
    """Return the shard that hears of the guild."""
    # https://docs.discord.com/developers/events/gateway#sharding
    return (int(guild_id) >> 22) % shard_count


def parse_channel(payload: Payload) -> Channel | None:
    """Return a voice or stage channel, or ``None`` for any other kind; raises UnreadableError."""
    channel_id = parse_id(payload.get("id"))
    type_ = payload.get("type")
    if channel_id is None or not isinstance(type_, int):
        raise UnreadableError(f"channel {channel_id or 'of unknown id'}")
    kind = _KINDS.get(type_)
    if kind is None:
        return None
    flags = payload.get("flags")
    hidden = isinstance(flags, int) and flags & _OBFUSCATED
    return {"id": channel_id, "name": None if hidden else parse_text(payload.get("name")), "kind": kind}


def parse_category_id(channel: Payload) -> str | None:
    """Return the category that a channel is in, ``None`` if it is in none or that is unknown."""
    return parse_id(channel.get("parent_id"))


def parse_roles(payload: Payload) -> dict[str, frozenset[str]]:
    """Return the roles of everybody with a member object in a voice state or GUILD_CREATE, by user id."""
    members: list[tuple[str | None, Any]] = [
        (parse_user_id({"member": member}), member) for member in parse_objects(payload, "members")
    ]
    states = (payload, *parse_objects(payload, "voice_states"))
    members += ((parse_user_id(state), state.get("member")) for state in states)
    return {
        user_id: frozenset(role_id for role in member["roles"] if (role_id := parse_id(role)))
        for user_id, member in members
        if user_id is not None and isinstance(member, dict) and isinstance(member.get("roles"), list)
    }


def parse_user_id(voice_state: Payload) -> str | None:
    """Return whose voice state it is: ``user_id``, else the member object's."""
    return parse_id(voice_state.get("user_id")) or parse_id(_member_user(voice_state).get("id"))


def parse_user(voice_state: Payload, user_id: str, known: User | None) -> User:
    """Return the person of a voice state; without a member object, as *known* describes them."""
    user = _member_user(voice_state)
    if not user:
        return known or {"id": user_id, "name": None, "display_name": None, "bot": None}
    name = parse_text(user.get("username"))
    member = voice_state["member"]
    return {
        "id": user_id,
        "name": name,
        "display_name": parse_text(member.get("nick")) or parse_text(user.get("global_name")) or name,
        "bot": bool(user.get("bot", False)),
    }


def parse_place(voice_state: Payload, user_id: str | None) -> str | None:
    """Return the channel of a voice state, ``None`` for nowhere; UnreadableError if it does not say."""
    channel_id = voice_state.get("channel_id", _ABSENT)
    if channel_id is None:
        return None
    found = parse_id(channel_id)
    if found is None:
        raise UnreadableError(UNKNOWN_USER if user_id is None else f"voice state of user {user_id}")
    return found


def parse_session_id(voice_state: Payload) -> str | None:
    """Return what names a stay in voice: it changes when the person leaves and comes back."""
    return parse_text(voice_state.get("session_id"))


def parse_flags(voice_state: Payload) -> int:
    """Return the voice flags as a bit set in the order of ``FLAGS``; a missing flag is off."""
    try:
        flags = _BITS_OF_SENT[_read_sent_flags(voice_state)]
    except (KeyError, TypeError):
        flags = sum(_FLAG_BITS[name] for name in _SENT_FLAGS if voice_state.get(name))
    return flags | _FLAG_BITS[_OPTIONAL_FLAG] if voice_state.get(_OPTIONAL_FLAG) else flags


def parse_present(payload: Payload, known: Mapping[str, Occupant], skipped: list[str]) -> list[Occupant]:
    """Return the people in voice by a GUILD_CREATE; what it does not say of a person comes from *known*.

    So does since when they are in their channel, if their session shows that they have stayed in voice. A
    person whose state cannot be read stays where they were *known* to be, since an unknown time. *skipped*
    takes what was unreadable.
    """
    if not isinstance(payload.get("voice_states", []), list):
        skipped.append("all voice states")
        return [replace(occupant, since_ms=None) for occupant in known.values()]
    members = {parse_user_id({"member": member}): member for member in parse_objects(payload, "members")}
    present = []
    for state in payload.get("voice_states", []):
        try:
            occupant = _parse_occupant(state, members, known)
        except UnreadableError as error:
            skipped.append(str(error))
            before = known.get(parse_user_id(state) or "") if isinstance(state, dict) else None
            occupant = before and replace(before, since_ms=None)
        if occupant is not None:
            present.append(occupant)
    return present


def _parse_occupant(
    state: object, members: Mapping[str | None, Payload], known: Mapping[str, Occupant]
) -> Occupant | None:
    """Return the person of a snapshot's voice state, ``None`` if they are in no channel."""
    user_id = parse_user_id(state) if isinstance(state, dict) else None
    if not isinstance(state, dict) or user_id is None:
        raise UnreadableError(UNKNOWN_USER)
    channel_id = parse_place(state, user_id)
    if channel_id is None:
        return None
    before = known.get(user_id)
    whole = {**state, "member": state.get("member") or members.get(user_id)}
    user = parse_user(whole, user_id, before.user if before else None)
    occupant = Occupant(user, channel_id, None, parse_flags(state), parse_session_id(state))
    if before is not None and before.channel_id == channel_id and _is_one_stay(before, occupant):
        occupant.since_ms = before.since_ms
    return occupant


def _is_one_stay(before: Occupant, now: Occupant) -> bool:
    return before.session_id is not None and before.session_id == now.session_id


def parse_objects(payload: Payload, key: str) -> Iterator[Payload]:
    """Yield the objects in the list at *key*, skipping anything else."""
    items = payload.get(key)
    if isinstance(items, list):
        yield from (item for item in items if isinstance(item, dict))


def _member_user(voice_state: Payload) -> Payload:
    member = voice_state.get("member")
    if isinstance(member, dict):
        user = member.get("user")
        if isinstance(user, dict):
            return user
    return {}


def parse_text(value: object) -> str | None:
    """Return a text that can be written again, ``None`` for no text."""
    if not isinstance(value, str) or not value:
        return None
    # Half a surrogate pair is valid JSON, but cannot be written again.
    return value if value.isascii() else value.encode(errors="replace").decode()


def parse_joined_ms(payload: Payload) -> int | None:
    """Return when the bot joined the guild of a GUILD_CREATE, ``None`` if it does not say."""
    # https://docs.discord.com/developers/events/gateway-events#guild-create
    try:
        return int(datetime.fromisoformat(str(payload.get("joined_at"))).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return None
