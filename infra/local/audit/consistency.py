"""Checks that events agree with each other: ids, durations, the number of people, gaps' beginnings."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from infra.local.audit.facts import Event, is_gap
from infra.local.audit.gaps import read_ms

_UNSURE = -1


class _Stay(NamedTuple):
    """``since_ms`` is ``None`` where the arrival was not seen, _UNSURE where it may have been."""

    channel_id: str
    since_ms: int | None


def find_contradictions(
    events: Iterable[Event], *, open_gaps: bool = False, resumed: bool = False
) -> Iterator[str]:
    """Yield what *events* of one guild, in their order, contradict of each other.

    With *open_gaps*, a gap need not say when it began: a process that is killed before it has first noted
    that it was watching leaves nothing to tell it by. Where sessions were *resumed*, a duration may be
    absent, since it is not known when a replayed frame happened.
    """
    told = _Told(open_gaps, resumed)
    for event in events:
        yield from (f"{problem}: {event['id']}" for problem in told.take(event))


@dataclass
class _Told:
    """What was told so far: who is where since when, and how many are in each channel."""

    open_gaps: bool
    resumed: bool = False
    last_id: str = ""
    people: dict[str, _Stay] = field(default_factory=dict)
    occupants: Counter[str] = field(default_factory=Counter)
    since_of_inferred: int | None = None

    def take(self, event: Event) -> Iterator[str]:
        if event["id"] < self.last_id:
            yield "an id that sorts before the one of the event before"
        if is_gap(event):
            yield from self._take_gap(event)
        else:
            yield from self._take_transition(event)
        self.last_id = event["id"]

    def _take_gap(self, event: Event) -> Iterator[str]:
        if event["data"]["from"] is None and self.last_id and not self.open_gaps:
            yield "a gap with no beginning, after something was seen"
        self.since_of_inferred = None
        if event["data"]["reason"] == "store_full":
            # What a full disk did not take was seen all the same, and so was when each person came.
            self.since_of_inferred = _UNSURE
            self.people = {user: stay._replace(since_ms=_UNSURE) for user, stay in self.people.items()}

    def _take_transition(self, event: Event) -> Iterator[str]:
        data: dict[str, Any] = event["data"]
        user_id, channel = data["user"]["id"], data["channel"]
        was = self.people.pop(user_id, None)
        if was is not None:
            self.occupants[was.channel_id] -= 1
        if channel is not None:
            self.occupants[channel["id"]] += 1
            self.people[user_id] = _Stay(channel["id"], self._find_arrival(event, was))
        counted = channel or data["previous_channel"] or {"id": ""}
        if data["occupants"] != self.occupants[counted["id"]]:
            yield f"{data['occupants']} people in a channel of {self.occupants[counted['id']]}"
        is_excused = self.resumed and data["duration_s"] is None
        if not (is_excused or _is_duration_right(event, was)):
            yield f"a duration of {data['duration_s']} s"

    def _find_arrival(self, event: Event, was: _Stay | None) -> int | None:
        if was is not None and event["type"].endswith("updated"):
            return was.since_ms
        return self.since_of_inferred if event["data"]["inferred"] else read_ms(event["time"])


def _is_duration_right(event: Event, was: _Stay | None) -> bool:
    """A stay has a duration where both its ends were seen, also by different processes."""
    duration_s = event["data"]["duration_s"]
    ends_stay = event["type"].endswith(("moved", "left"))
    if not ends_stay or was is None or was.since_ms is None or event["data"]["inferred"]:
        return duration_s is None
    if was.since_ms == _UNSURE:
        return duration_s is None or bool(duration_s >= 0)
    return bool(duration_s == max(0, read_ms(event["time"]) - was.since_ms) / 1000)
