"""What a line in the channel says, by its sign and its mentions."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from infra.local.audit.facts import Fact, build_gap

# How the workflow's lines begin after the time.
_SIGNS = {"🟢": "joined", "🔴": "left", "🔵": "moved", "🟡": "updated"}
_LINE = re.compile(r"<t:\d+:T> (?P<sign>\S+) <@(?P<user>\d+)> (?P<rest>.*)")
_GAP_LINE = re.compile(r"\S+ Not watching (?:<t:\d+:[TS]>-|until )<t:\d+:[TS]> \((?P<why>.*)\)")
_REASONS = {
    "relay restarted": "restart",
    "Discord session lost": "session_lost",
    "server unavailable": "guild_unavailable",
    "relay could not store events": "store_full",
    "server moved to another relay": "handed_over",
}
_CHANNEL = re.compile(r"<#(\d+)>")
_INFERRED = "(inferred afterwards)"


def parse_message(body: Mapping[str, Any]) -> Iterator[Fact]:
    """Yield what each line of a message's embeds says, as ``Fact.as_told_in_channel`` has it."""
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
    # A move names the old channel, then the new one; a departure only the old one.
    previous, channel = channels[:2] if kind in ("left", "moved") else (None, channels[0])
    fact = Fact(kind, "", match["user"], channel, previous, ())
    return fact.as_inferred() if match["rest"].endswith(_INFERRED) else fact
