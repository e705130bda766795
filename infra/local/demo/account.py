"""The count at the end: what was sent, held against what arrived in two places.

The one side is the stand-in's own log, with the stretches in which the bot was blind on purpose. The other is
read back from where things ended up, not counted on the way: the inputs of the executions, and the lines that
stand in the channel.
"""

import datetime as dt
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from infra.local.demo.comparison import Comparison, compare
from infra.local.demo.expectation import Expectation, Log, Stretch, expect
from infra.local.demo.facts import Fact, Places, parse_event, parse_message, parse_transition
from infra.local.discord import PostedMessage, Transition

# The clocks on both sides are one, but rounded differently.
_CLOCK_S = 0.01


class Execution(NamedTuple):
    """One execution and its input; ``started_at`` is in seconds since the Unix epoch."""

    name: str
    status: str
    started_at: float
    events: Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Account:
    """The whole evening. ``sent`` transitions happened, of which ``unseen`` while the bot was blind.

    ``repeated`` has the names of executions and the ids of events that are there more than once, and
    ``uncovered`` counts the gaps that do not reach over what they stand for. ``burst`` transitions took
    ``burst_s``; the other times are medians, of the burst or of all the rest. All are in
    seconds, and ``None`` where there is nothing.
    """

    sent: int
    unseen: int
    workflow: Comparison
    channel: Comparison
    executions: int
    unsuccessful: Counter[str]
    repeated: Counter[str]
    uncovered: int
    messages: int
    slow_downs: int
    burst: int
    burst_s: float | None
    to_execution_s: float | None
    to_execution_in_burst_s: float | None
    to_message_s: float | None
    to_message_in_burst_s: float | None

    @property
    def delivered(self) -> int:
        return min(self.workflow.delivered, self.channel.delivered)

    @property
    def inferred(self) -> int:
        return min(self.workflow.inferred, self.channel.inferred)

    @property
    def gaps(self) -> int:
        return min(self.workflow.gaps, self.channel.gaps)

    @property
    def lost(self) -> int:
        return max(self.workflow.lost.total(), self.channel.lost.total())

    @property
    def doubled(self) -> int:
        return max(
            self.workflow.duplicated.total(),
            self.channel.duplicated.total(),
            self.repeated.total() - len(self.repeated),
        )

    @property
    def balanced(self) -> bool:
        """Whether everything arrived once, in order, what nobody saw was declared, and nothing failed.

        The order in the channel is not part of it: a message that Discord told to wait may be overtaken.
        """
        return (
            self.workflow.complete
            and self.workflow.misplaced == 0
            and self.channel.complete
            and not (self.unsuccessful or self.repeated or self.uncovered)
        )


class Evening(NamedTuple):
    """What happened in the guild: *places* is who was where before each transition and after the last.

    *burst* are the places in *sent* that the burst takes.
    """

    guild_id: str
    sent: Sequence[Transition]
    places: Sequence[Places]
    stretches: Sequence[Stretch]
    burst: range


def draw_up(
    evening: Evening,
    executions: Sequence[Execution],
    messages: Sequence[PostedMessage],
    *,
    slow_downs: int,
) -> Account:
    """Draw up the account; *executions* may be in any order."""
    by_age = sorted(executions, key=lambda execution: execution.started_at)
    events = [(event, run.started_at) for run in by_age for event in run.events]
    arrived = [(parse_event(event), at) for event, at in events]
    lines = [(fact, message.received_at) for message in messages for fact in parse_message(message.body)]
    facts = [parse_transition(transition) for transition in evening.sent]
    expected = expect(
        Log(evening.guild_id, facts, evening.places), evening.stretches, [fact for fact, _ in arrived]
    )
    told = [fact.as_told_in_channel() for fact in expected.facts]
    under_way = [(place, facts[place], evening.sent[place].at) for place in expected.seen]
    to_execution = _delays(under_way, arrived)
    to_message = _delays([(place, fact.as_told_in_channel(), at) for place, fact, at in under_way], lines)
    first_to_last = [evening.sent[place].at for place in evening.burst[:: max(1, len(evening.burst) - 1)]]
    return Account(
        sent=len(facts),
        unseen=len(facts) - len(expected.seen),
        workflow=compare(expected.facts, [fact for fact, _ in arrived]),
        channel=compare(told, [fact for fact, _ in lines]),
        executions=len(executions),
        unsuccessful=Counter(run.status for run in executions if run.status != "SUCCEEDED"),
        repeated=_repeated([run.name for run in executions])
        + _repeated([event["id"] for event, _ in events]),
        uncovered=_count_uncovered(evening.sent, expected, [event for event, _ in events]),
        messages=len(messages),
        slow_downs=slow_downs,
        burst=len(evening.burst),
        burst_s=first_to_last[-1] - first_to_last[0] if first_to_last else None,
        to_execution_s=_median_outside(evening.burst, to_execution),
        to_execution_in_burst_s=_median_inside(evening.burst, to_execution),
        to_message_s=_median_outside(evening.burst, to_message),
        to_message_in_burst_s=_median_inside(evening.burst, to_message),
    )


def _repeated(names: Iterable[str]) -> Counter[str]:
    return Counter({name: count for name, count in Counter(names).items() if count > 1})


def _count_uncovered(
    sent: Sequence[Transition], expected: Expectation, events: Iterable[dict[str, Any]]
) -> int:
    """Return how many gaps are shorter than the stretch that they stand for.

    What was on its way while the bot stopped watching may be older than the last thing that it saw.
    """
    gaps = list(_parse_gaps(events))
    return sum(
        any(
            (transition.reach != "live" and transition.at < gaps[gap][0] - _CLOCK_S)
            or transition.at > gaps[gap][1] + _CLOCK_S
            for transition in (sent[place] for place in unseen)
        )
        for gap, unseen in expected.unseen
    )


def _parse_gaps(events: Iterable[dict[str, Any]]) -> Iterator[tuple[float, float]]:
    """Yield from when to when each gap reaches; one that begins nobody knows when, from the first day on."""
    for event in events:
        if event["type"] == "discord.voice.gap":
            since, until = event["data"]["from"], event["data"]["until"]
            yield _parse_time(since) if since else 0.0, _parse_time(until)


def _parse_time(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()


def _delays(sent: Iterable[tuple[int, Fact, float]], found: Sequence[tuple[Fact, float]]) -> dict[int, float]:
    """Return how long each of *sent*, by its place, was under way; the first of two alike is found first."""
    arrivals: defaultdict[Fact, list[float]] = defaultdict(list)
    for fact, at in reversed(found):
        arrivals[fact].append(at)
    return {place: arrivals[fact].pop() - at for place, fact, at in sent if arrivals[fact]}


def _median_outside(burst: range, delays: Mapping[int, float]) -> float | None:
    return _median(delay for place, delay in delays.items() if place not in burst)


def _median_inside(burst: range, delays: Mapping[int, float]) -> float | None:
    return _median(delay for place, delay in delays.items() if place in burst)


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return statistics.median(known) if known else None
