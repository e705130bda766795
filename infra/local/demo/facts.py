"""What happened, in one form for the stand-in's log, an execution's input and a line in the channel."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Self

from infra.local.discord import Guild, Transition

# How the workflow's lines begin after the time.
_SIGNS = {"🟢": "joined", "🔴": "left", "🔵": "moved", "🟡": "updated"}
_LINE = re.compile(r"<t:\d+:T> (?P<sign>\S+) <@(?P<user>\d+)> (?P<rest>.*)")
_GAP_LINE = re.compile(r"\S+ Not watching <t:\d+:[TS]>-<t:\d+:[TS]> \((?P<why>.*)\)")
_REASONS = {
    "relay restarted": "restart",
    "Discord session lost": "session_lost",
    "server unavailable": "guild_unavailable",
    "relay could not store events": "store_full",
}
_CHANNEL = re.compile(r"<#(\d+)>")
_INFERRED_LINE = "(inferred afterwards)"
_INFERRED, _GAP = ", inferred", "gap, "


class Fact(NamedTuple):
    """Somebody joined, left, moved or was updated, or nobody was watching.

    What was inferred is a kind of its own, and so is a gap for each reason.
    """

    kind: str
    guild_id: str
    user_id: str
    channel_id: str | None
    previous_channel_id: str | None
    changes: tuple[tuple[str, bool], ...]

    @property
    def gap_reason(self) -> str | None:
        return self.kind.removeprefix(_GAP) if self.kind.startswith(_GAP) else None

    @property
    def inferred(self) -> bool:
        return self.kind.endswith(_INFERRED)

    def as_told_in_channel(self) -> Self:
        """Return it without what a line says in words only."""
        return self._replace(guild_id="", changes=())


def parse_transition(transition: Transition) -> Fact:
    return Fact(
        transition.kind,
        transition.guild_id,
        transition.user_id,
        transition.channel_id,
        transition.previous_channel_id,
        _parse_changes(transition.changes),
    )


def parse_event(event: Mapping[str, Any]) -> Fact:
    """Return what a CloudEvent says."""
    data = event["data"]
    kind = event["type"].removeprefix("discord.voice.")
    if kind == "gap":
        return build_gap(data["guild"]["id"], data["reason"])
    return Fact(
        kind + _INFERRED if data["inferred"] else kind,
        data["guild"]["id"],
        data["user"]["id"],
        data["channel"]["id"] if data.get("channel") else None,
        data["previous_channel"]["id"] if data.get("previous_channel") else None,
        _parse_changes(data.get("changes", {})),
    )


def build_gap(guild_id: str, reason: str) -> Fact:
    return Fact(_GAP + reason, guild_id, "", None, None, ())


class Seat(NamedTuple):
    """Where somebody is, and which flags of theirs are on."""

    channel_id: str
    flags: frozenset[str]


Places = Mapping[str, Seat]
"""Who is in voice, by user id."""


def read_places(guild: Guild) -> Places:
    return {
        user_id: Seat(state.channel.id, frozenset((flag.name or "").lower() for flag in state.flags))
        for user_id, state in guild.voice_states.items()
    }


def infer(guild_id: str, before: Places, after: Places) -> Iterator[Fact]:
    """Yield what must have happened to each person between two moments, if anything."""
    for user_id in before.keys() | after.keys():
        was, now = before.get(user_id), after.get(user_id)
        if was == now:
            continue
        changes: Iterable[str] = was.flags ^ now.flags if was and now else ()
        stayed = bool(was and now and was.channel_id == now.channel_id)
        kind = "updated" if stayed else "moved" if was and now else "joined" if now else "left"
        yield Fact(
            kind + _INFERRED,
            guild_id,
            user_id,
            now.channel_id if now else None,
            was.channel_id if was and not stayed else None,
            _parse_changes({name: bool(now and name in now.flags) for name in changes}),
        )


def parse_message(body: Mapping[str, Any]) -> Iterator[Fact]:
    """Yield what each line of a message's embeds says, by its sign and its mentions."""
    for embed in body.get("embeds") or ():
        for line in embed.get("description", "").split("\n"):
            yield _parse_line(line)


def _parse_line(line: str) -> Fact:
    gap = _GAP_LINE.fullmatch(line)
    if gap is not None and gap["why"] in _REASONS:
        return build_gap("", _REASONS[gap["why"]])
    match = _LINE.fullmatch(line)
    if match is None or match["sign"] not in _SIGNS:
        return Fact(f"unreadable: {line}", "", "", None, None, ())
    kind = _SIGNS[match["sign"]]
    channels: list[str | None] = [*_CHANNEL.findall(match["rest"]), None, None]
    # Those who move come from the first channel to the second; those who leave are in none afterwards.
    previous, channel = channels[:2] if kind in ("left", "moved") else (None, channels[0])
    if match["rest"].endswith(_INFERRED_LINE):
        kind += _INFERRED
    return Fact(kind, "", match["user"], channel, previous, ())


def _parse_changes(changes: Mapping[str, bool]) -> tuple[tuple[str, bool], ...]:
    return tuple(sorted(changes.items()))
