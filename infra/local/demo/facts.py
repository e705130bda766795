"""What happened, in one form for the stand-in's log, an execution's input and a line in the channel."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self

from infra.local.standin import Transition

# How the workflow's lines begin after the time.
_SIGNS = {"🟢": "joined", "🔴": "left", "🔵": "moved", "🟡": "updated"}
_LINE = re.compile(r"<t:\d+:T> (?P<sign>\S+) <@(?P<user>\d+)> (?P<rest>.*)")
_CHANNEL = re.compile(r"<#(\d+)>")
_INFERRED = "(inferred afterwards)"


class Fact(NamedTuple):
    """Somebody joined, left, moved or was updated. What was inferred is a kind of its own: nobody saw it."""

    kind: str
    guild_id: str
    user_id: str
    channel_id: str | None
    previous_channel_id: str | None
    changes: tuple[tuple[str, bool], ...]

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
    """Return what a CloudEvent says; a gap has neither a person nor a channel."""
    data = event["data"]
    kind = event["type"].removeprefix("discord.voice.")
    return Fact(
        f"{kind}, inferred" if data.get("inferred") else kind,
        data["guild"]["id"],
        data["user"]["id"] if "user" in data else "",
        data["channel"]["id"] if data.get("channel") else None,
        data["previous_channel"]["id"] if data.get("previous_channel") else None,
        _parse_changes(data.get("changes", {})),
    )


def parse_message(body: Mapping[str, Any]) -> Iterator[Fact]:
    """Yield what each line of a message's embeds says, by its sign and its mentions."""
    for embed in body.get("embeds") or ():
        for line in embed.get("description", "").split("\n"):
            yield _parse_line(line)


def _parse_line(line: str) -> Fact:
    match = _LINE.fullmatch(line)
    if match is None or match["sign"] not in _SIGNS:
        return Fact(f"unreadable: {line}", "", "", None, None, ())
    kind = _SIGNS[match["sign"]]
    channels: list[str | None] = [*_CHANNEL.findall(match["rest"]), None, None]
    # Those who move come from the first channel to the second; those who leave are in none afterwards.
    previous, channel = channels[:2] if kind in ("left", "moved") else (None, channels[0])
    if match["rest"].endswith(_INFERRED):
        kind += ", inferred"
    return Fact(kind, "", match["user"], channel, previous, ())


def _parse_changes(changes: Mapping[str, bool]) -> tuple[tuple[str, bool], ...]:
    return tuple(sorted(changes.items()))
