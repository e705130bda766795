"""What the rules ask of an event: its own values, its surroundings, and what its execution is about."""

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, get_args

from bot.voice.events import Channel, Event, VoiceData, VoiceEventType

PREFIX: Final = "discord.voice."
TYPES: Final = (*(kind.removeprefix(PREFIX) for kind in get_args(VoiceEventType)), "gap")
SIDES: Final[Mapping[str, frozenset[str]]] = {
    "entering": frozenset({"joined", "moved"}),
    "leaving": frozenset({"left", "moved"}),
}
"""The conditions on one side of a coming or going, and the types of event that have that side."""
CHANGING_TYPES: Final = frozenset({"updated", "moved"})
"""The types of event that can have ``changes``."""

Key = Literal["person"]
"""What executions of a workflow are about, by which they are told apart; ``find_key`` returns the value."""


class Surroundings(NamedTuple):
    """What rules may ask but an event does not say, taken from its payload and its guild.

    ``roles`` are by user id, where the payload has them; ``categories`` are by channel id. ``quiet_gap``
    says of a gap that nothing was found changed after it.
    """

    roles: Mapping[str, Collection[str]] = MappingProxyType({})
    categories: Mapping[str, str] = MappingProxyType({})
    afk_channel_id: str | None = None
    quiet_gap: bool = False


UNKNOWN: Final = Surroundings()


def find_key(event: Event, key: Key | None) -> str | None:
    """Return what *event* is about, by *key*; ``None`` without one, and for a gap."""
    if key is None or event["type"] == "discord.voice.gap":
        return None
    return _KEYS[key](event["data"])


Fact = Callable[[VoiceData, Surroundings], Collection[Any]]


def channel_ids(data: VoiceData, _: Surroundings) -> Collection[str]:
    channel, previous = data["channel"], data["previous_channel"]
    if previous is None:
        return () if channel is None else (channel["id"],)
    return (previous["id"],) if channel is None else (channel["id"], previous["id"])


def _id_of(channel: Channel | None) -> Collection[str]:
    return () if channel is None else (channel["id"],)


def _category_ids(data: VoiceData, around: Surroundings) -> Collection[str | None]:
    return [around.categories.get(channel_id) for channel_id in channel_ids(data, around)]


FACTS: Final[Mapping[str, Fact]] = {
    "channels": channel_ids,
    "entering": lambda data, _: _id_of(data["channel"]),
    "leaving": lambda data, _: _id_of(data["previous_channel"]),
    "categories": _category_ids,
    "users": lambda data, _: (data["user"]["id"],),
    "roles": lambda data, around: around.roles.get(data["user"]["id"], ()),
    "bot": lambda data, _: (data["user"]["bot"],),
    "afk": lambda data, around: (around.afk_channel_id in channel_ids(data, around),),
    "changed": lambda data, _: data["changes"],
}
"""An event's own values, for the conditions that a gap never meets."""

_KEYS: Final[Mapping[Key, Callable[[VoiceData], str]]] = {"person": lambda data: f"user-{data['user']['id']}"}
