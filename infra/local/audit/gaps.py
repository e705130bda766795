"""Checks that each gap covers all that it stands for, and reaches back to when a process still watched."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from infra.local.audit.facts import Event, is_gap
from infra.local.audit.oracle import Expectation, Log
from infra.local.discord import Transition


@dataclass(frozen=True, slots=True)
class Life:
    """A time in which one process, or one session, may have been watching; in ms since the Unix epoch."""

    began_ms: int
    ended_ms: int


class _Gap(NamedTuple):
    """``since_ms`` is 0 where the beginning is unknown; ``before`` is what was delivered just before."""

    since_ms: int
    until_ms: int
    before: Event | None


def read_ms(timestamp: str) -> int:
    return round(datetime.fromisoformat(timestamp).timestamp() * 1000)


def find_short_gaps(
    log: Log, expected: Expectation, events: Sequence[Event], lives: Sequence[Life], *, lag_s: float
) -> Iterator[str]:
    """Yield what is wrong with each gap among *events*, which are all of one guild.

    *lag_s* is how long a frame may be under way: the relay's last look at the guild may be so much later
    than the beginning of its blindness. *lives* tell when a process may have been watching, if that is known.
    """
    gaps = [
        _Gap(
            read_ms(event["data"]["from"]) if event["data"]["from"] else 0,
            read_ms(event["data"]["until"]),
            events[place - 1] if place else None,
        )
        for place, event in enumerate(events)
        if is_gap(event)
    ]
    for number, gap in enumerate(gaps):
        if gap.since_ms > gap.until_ms:
            yield f"gap {number} begins after its end"
        if lives:
            yield from _check_watcher(number, gap, lives)
    for number, places in expected.missed:
        missed = [log.transitions[place] for place in places]
        if any(int(transition.at * 1000) > gaps[number].until_ms for transition in missed):
            yield f"gap {number} ends before something that was missed"
        if not all(_is_covered(transition, gaps, lag_s) for transition in missed):
            yield f"gap {number} begins after something that was missed"


def _check_watcher(number: int, gap: _Gap, lives: Sequence[Life]) -> Iterator[str]:
    """Yield a fault unless the process that reported the event before was alive when the gap begins."""
    if gap.before is None:
        return
    last_ms = read_ms(gap.before["time"])
    watcher = next((life for life in lives if life.began_ms <= last_ms <= life.ended_ms), None)
    if watcher is None:
        yield f"gap {number} follows an event of a time in which no process lived"
    elif gap.since_ms > watcher.ended_ms:
        yield f"gap {number} begins after the end of the process that watched before"


def _is_covered(missed: Transition, gaps: Sequence[_Gap], lag_s: float) -> bool:
    """Whether any gap begins before *missed*, which may have been on its way when the relay stopped watching.

    A gap in which nothing was seen again reaches over into the next.
    """
    at_ms = missed.at * 1000
    return missed.reach == "live" or any(
        gap.since_ms - lag_s * 1000 <= at_ms <= gap.until_ms + 1 for gap in gaps
    )
