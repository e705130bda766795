"""What happened, in one form for the stand-in's log, a CloudEvent and a line in the channel."""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple, Self

from infra.local.discord import Flag, Transition

Event = Mapping[str, Any]
"""A CloudEvent as the relay delivers it."""

_PREFIX = "discord.voice."
_INFERRED, _GAP = ", inferred", "gap, "


class Fact(NamedTuple):
    """Somebody joined, left, moved or was updated, or a gap was declared.

    What was inferred is a kind of its own, and so is a gap for each reason. ``flags`` are those that are on
    afterwards, or were on at the end of a visit; ``None`` where nothing says so.
    """

    kind: str
    guild_id: str
    user_id: str
    channel_id: str | None
    previous_channel_id: str | None
    changes: tuple[tuple[str, bool], ...]
    flags: frozenset[str] | None = None

    @property
    def gap_reason(self) -> str | None:
        return self.kind.removeprefix(_GAP) if self.kind.startswith(_GAP) else None

    @property
    def inferred(self) -> bool:
        return self.kind.endswith(_INFERRED)

    def as_inferred(self) -> Self:
        return self._replace(kind=self.kind + _INFERRED)

    def as_told_in_channel(self) -> Self:
        """Return it without what a line in the channel leaves out or says in words only."""
        return self._replace(guild_id="", changes=(), flags=None)


def build_gap(guild_id: str, reason: str) -> Fact:
    return Fact(_GAP + reason, guild_id, "", None, None, ())


def build_changes(changes: Mapping[str, bool]) -> tuple[tuple[str, bool], ...]:
    return tuple(sorted(changes.items()))


@cache
def name_flags(flags: Flag) -> frozenset[str]:
    """Return the names that events have for *flags*."""
    return frozenset((flag.name or "").lower() for flag in flags)


def parse_transition(transition: Transition) -> Fact:
    return Fact(
        transition.kind,
        transition.guild_id,
        transition.user_id,
        transition.channel_id,
        transition.previous_channel_id,
        build_changes(transition.changes),
        name_flags(transition.flags),
    )


def parse_event(event: Event) -> Fact:
    """Return what a CloudEvent says."""
    data = event["data"]
    kind = event["type"].removeprefix(_PREFIX)
    if kind == "gap":
        return build_gap(data["guild"]["id"], data["reason"])
    fact = Fact(
        kind,
        data["guild"]["id"],
        data["user"]["id"],
        data["channel"]["id"] if data.get("channel") else None,
        data["previous_channel"]["id"] if data.get("previous_channel") else None,
        build_changes(data.get("changes", {})),
        frozenset(name for name, on in data["state"].items() if on) if "state" in data else None,
    )
    return fact.as_inferred() if data.get("inferred") else fact


def is_gap(event: Event) -> bool:
    return bool(event["type"] == _PREFIX + "gap")
