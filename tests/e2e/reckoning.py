"""The account of a guild over many interruptions: what was not told, a gap declares.

What a relay tells of a guild falls into stretches, each but the first with a gap at its head:

    gap, inferred*, seen*

The seen ones must be an unbroken piece of what happened, in order, and the pieces must follow one another.
What lies between two pieces was missed; the gap must cover its time, and the inferred events must be exactly
the net difference that it made. So nothing is lost, and nothing is invented.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from bot.clock import format_ms
from infra.local.discord import Guild, Transition
from tests.e2e.accounts import PREFIX, Account, Event, read_account, true_accounts

Flags = Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Life:
    """A stretch of time in which one process, or one session, may have been watching; in milliseconds."""

    began_ms: int
    ended_ms: int


@dataclass(slots=True)
class Found:
    """What the account of one or more guilds came to."""

    seen: int = 0
    inferred: int = 0
    missed: int = 0
    gaps: int = 0
    reasons: set[str] = field(default_factory=set)

    def add(self, other: "Found") -> None:
        self.seen += other.seen
        self.inferred += other.inferred
        self.missed += other.missed
        self.gaps += other.gaps
        self.reasons |= other.reasons


_SOME_TIME = "some time"


class _Person(NamedTuple):
    channel_id: str
    flags: Flags
    arrived: str | None
    """When they came to the channel; ``None`` where nobody saw it, _SOME_TIME where memory alone knows."""


class _Places:
    """Who is where after each number of transitions, told apart by a number for each state."""

    def __init__(self, truth: Sequence[Account]) -> None:
        self.after = [0]
        for told in truth:
            now = self.after[-1]
            if told.kind in ("moved", "left"):
                now ^= self._mark(told.user_id, told.previous_channel_id)
            if told.kind in ("joined", "moved"):
                now ^= self._mark(told.user_id, told.channel_id)
            self.after.append(now)

    def _mark(self, user_id: str, channel_id: str | None) -> int:
        return hash((user_id, channel_id))

    def of(self, people: Mapping[str, _Person]) -> int:
        now = 0
        for user_id, person in people.items():
            now ^= self._mark(user_id, person.channel_id)
        return now


def reckon(
    told: Iterable[Event], guild: Guild, transitions: Sequence[Transition], lives: Sequence[Life]
) -> Found:
    """Hold all that was *told* of *guild* against its *transitions*, which began with nobody in voice.

    Raises AssertionError, saying what is wrong, unless the account is exact up to the end of both.
    """
    truth = true_accounts(transitions)
    places = _Places(truth)
    people: dict[str, _Person] = {}
    found = Found()
    place = 0
    before: Event | None = None
    for stretch in _cut(told):
        gap, inferred, seen = _sort(stretch)
        assert (gap is None) == (before is None), "a gap begins every stretch but the first"
        assert gap is not None or not inferred, "inferred, and no gap before it"
        users = [event["data"]["user"]["id"] for event in inferred]
        assert len(users) == len(set(users)), "more than the net difference was inferred"
        for event in inferred:
            _apply(event, people)
        if gap is not None and gap["data"]["reason"] == "store_full":
            # What a full disk did not take was seen all the same, and so was when each person came.
            people = {user_id: person._replace(arrived=_SOME_TIME) for user_id, person in people.items()}
        accounts = [read_account(event) for event in seen]
        begin = _find(accounts, places.of(people), truth, places.after, place)
        if gap is not None and before is not None:
            _check_gap(gap, before, transitions[place:begin], lives)
            found.gaps += 1
            found.reasons.add(gap["data"]["reason"])
        else:
            assert begin == 0, f"{begin} transitions were lost before the first that was told"
        for event in seen:
            _apply(event, people)
        found.missed += begin - place
        found.inferred += len(inferred)
        found.seen += len(seen)
        place = begin + len(seen)
        before = stretch[-1]
    assert place == len(truth), f"{len(truth) - place} transitions were lost at the end: {truth[place]}"
    _check_end(people, guild)
    return found


def _cut(told: Iterable[Event]) -> list[list[Event]]:
    """Return the stretches; a gap begins each but the first."""
    stretches: list[list[Event]] = [[]]
    for event in told:
        if event["type"] == PREFIX + "gap":
            stretches.append([])
        stretches[-1].append(event)
    return stretches if stretches[0] else stretches[1:]


def _sort(stretch: Sequence[Event]) -> tuple[Event | None, list[Event], list[Event]]:
    gap, rest = (stretch[0], stretch[1:]) if stretch[0]["type"] == PREFIX + "gap" else (None, stretch)
    inferred = [event for event in rest if event["data"]["inferred"]]
    seen = [event for event in rest if not event["data"]["inferred"]]
    assert [*inferred, *seen] == list(rest), "what is inferred comes right after its gap"
    return gap, inferred, seen


def _find(
    seen: Sequence[Account], now: int, truth: Sequence[Account], after: Sequence[int], start: int
) -> int:
    """Return the first place from *start* on where people are as they are *now* and *seen* comes next."""
    for place in range(start, len(truth) - len(seen) + 1):
        if after[place] == now and list(truth[place : place + len(seen)]) == list(seen):
            return place
    raise AssertionError(
        f"after {start} of {len(truth)} transitions nothing fits what was told: {seen[:2]} of {len(seen)}"
    )


def _apply(event: Event, people: dict[str, _Person]) -> None:
    """Let one event happen to *people*; it must go on from what was told of its person before."""
    told, data = read_account(event), event["data"]
    was = people.get(told.user_id)
    if told.kind == "joined":
        assert was is None, f"joined, but was in {was}: {event}"
    else:
        origin = told.channel_id if told.kind == "updated" else told.previous_channel_id
        assert was is not None, f"{told.kind}, but was nowhere: {event}"
        assert was.channel_id == origin, f"{told.kind}, but was in {was.channel_id}: {event}"
        if told.kind != "left":
            assert data["state"] == {**was.flags, **told.changes}, f"flags that no change explains: {event}"
            assert all(was.flags[name] != value for name, value in told.changes.items())
        assert told.kind != "updated" or told.changes
    if told.kind in ("moved", "left"):
        _check_duration(data["duration_s"], was, event)
    if told.channel_id is None:
        del people[told.user_id]
        return
    seen_at = None if data["inferred"] else event["time"]
    arrived = was.arrived if was and told.kind == "updated" else seen_at
    people[told.user_id] = _Person(told.channel_id, data["state"], arrived)


def _check_duration(duration_s: Any, was: _Person | None, event: Event) -> None:
    """A stay has a duration where both its ends were seen, also by different processes."""
    if was is None or was.arrived is None or event["data"]["inferred"]:
        assert duration_s is None, f"a duration without a beginning or an end: {event}"
    elif was.arrived == _SOME_TIME:
        assert duration_s is None or duration_s >= 0
    else:
        assert duration_s == max(0, _read_ms(event["time"]) - _read_ms(was.arrived)) / 1000, event


def _check_gap(gap: Event, before: Event, missed: Sequence[Transition], lives: Sequence[Life]) -> None:
    """The gap begins before the end of whoever told of *before*, and ends after all that was *missed*."""
    data = gap["data"]
    since, until = data["from"], data["until"]
    assert since is not None, f"a gap with no beginning: {gap}"
    assert since <= until
    last_ms = _read_ms(before["time"])
    watcher = next(life for life in lives if life.began_ms <= last_ms <= life.ended_ms)
    assert since <= format_ms(watcher.ended_ms), f"watching ended at {format_ms(watcher.ended_ms)}: {gap}"
    assert all(int(happened.at * 1000) <= _read_ms(until) for happened in missed), f"missed after it: {gap}"


def _check_end(people: Mapping[str, _Person], guild: Guild) -> None:
    truth = {user_id: (state.channel.id, state.flags) for user_id, state in guild.voice_states.items()}
    assert people.keys() == truth.keys()
    for user_id, person in people.items():
        channel_id, flags = truth[user_id]
        assert person.channel_id == channel_id
        on = {name for name, value in person.flags.items() if value}
        assert on == {flag.name.lower() for flag in flags if flag.name}


def _read_ms(timestamp: str) -> int:
    return round(datetime.fromisoformat(timestamp).timestamp() * 1000)
