"""The account at the end: what was sent, held against what arrived in two places.

The one side is the stand-in's own log, with the stretches in which the bot was blind on purpose. The other is
read back from where things ended up, not counted on the way: the inputs of the executions, and the lines that
stand in the channel.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from infra.local.audit import (
    Audit,
    Comparison,
    Expectation,
    Fact,
    Log,
    Stretch,
    audit_guild,
    compare,
    expect,
    parse_event,
    parse_message,
)
from infra.local.discord import PostedMessage, Transition


class Execution(NamedTuple):
    """One execution and its input; ``started_at`` is in seconds since the Unix epoch."""

    name: str
    status: str
    started_at: float
    events: Sequence[dict[str, Any]]


class Delays(NamedTuple):
    """Median times from a transition to its arrival, outside and inside the burst, in seconds if any."""

    usual_s: float | None
    in_burst_s: float | None


@dataclass(frozen=True)
class Account:
    """The whole evening, and the burst in it: *burst* transitions took ``burst_s``.

    ``reused_names`` has the names that more than one execution has, ``unsuccessful`` the statuses of those
    that did not succeed.
    """

    workflow: Audit
    channel: Comparison
    executions: int
    unsuccessful: Counter[str]
    reused_names: Counter[str]
    messages: int
    slow_downs: int
    burst: int
    burst_s: float | None
    to_execution: Delays
    to_message: Delays

    @property
    def sent(self) -> int:
        return self.workflow.sent

    @property
    def missed(self) -> int:
        return self.workflow.missed

    @property
    def delivered(self) -> int:
        return min(self.workflow.seen, self.channel.delivered)

    @property
    def inferred(self) -> int:
        return min(self.workflow.inferred, self.channel.inferred)

    @property
    def gaps(self) -> int:
        return min(self.workflow.gaps, self.channel.gaps)

    @property
    def lost(self) -> int:
        return max(self.workflow.comparison.lost.total(), self.channel.lost.total())

    @property
    def repeated(self) -> Counter[str]:
        """Names of executions and ids of events that are there more than once."""
        return self.reused_names + self.workflow.repeated

    @property
    def doubled(self) -> int:
        return max(
            self.workflow.comparison.duplicated.total(),
            self.channel.duplicated.total(),
            self.repeated.total() - len(self.repeated),
        )

    @property
    def balanced(self) -> bool:
        """Whether everything arrived once, in order, what was missed was declared, and nothing failed."""
        in_order = self.channel.complete and not self.channel.misplaced
        return self.workflow.exact and in_order and not (self.unsuccessful or self.reused_names)


class Evening(NamedTuple):
    """What happened in the guild; *burst* are the places in *sent* that the burst takes."""

    guild_id: str
    sent: Sequence[Transition]
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
    events = [event for run in by_age for event in run.events]
    arrived = [(parse_event(event), run.started_at) for run in by_age for event in run.events]
    lines = [(fact, message.received_at) for message in messages for fact in parse_message(message.body)]
    log = Log.build(evening.guild_id, evening.sent)
    expected = expect(log, [fact for fact, _ in arrived], evening.stretches)
    told = [fact.as_told_in_channel() for fact in expected.facts]
    under_way = _follow(log, expected)
    in_channel = [(place, fact.as_told_in_channel(), at) for place, fact, at in under_way]
    names = Counter(run.name for run in executions)
    return Account(
        workflow=audit_guild(log, expected, events, resumed=True),
        channel=compare(told, [fact for fact, _ in lines]),
        executions=len(executions),
        unsuccessful=Counter(run.status for run in executions if run.status != "SUCCEEDED"),
        reused_names=Counter({name: count for name, count in names.items() if count > 1}),
        messages=len(messages),
        slow_downs=slow_downs,
        burst=len(evening.burst),
        burst_s=_measure_burst(evening),
        to_execution=_take_medians(evening.burst, _measure(under_way, arrived)),
        to_message=_take_medians(evening.burst, _measure(in_channel, lines)),
    )


_Sent = tuple[int, Fact, float]
"""Place in the log, fact, and when it happened."""


def _follow(log: Log, expected: Expectation) -> list[_Sent]:
    return [(place, log.facts[place], log.transitions[place].at) for place in expected.seen]


def _measure_burst(evening: Evening) -> float | None:
    if not evening.burst:
        return None
    return evening.sent[evening.burst[-1]].at - evening.sent[evening.burst[0]].at


def _measure(sent: Iterable[_Sent], found: Sequence[tuple[Fact, float]]) -> dict[int, float]:
    """Return how long each of *sent*, by its place, was under way; the first of two alike is found first."""
    arrivals: defaultdict[Fact, list[float]] = defaultdict(list)
    for fact, at in reversed(found):
        arrivals[fact].append(at)
    return {place: arrivals[fact].pop() - at for place, fact, at in sent if arrivals[fact]}


def _take_medians(burst: range, delays: Mapping[int, float]) -> Delays:
    return Delays(
        _median(delay for place, delay in delays.items() if place not in burst),
        _median(delay for place, delay in delays.items() if place in burst),
    )


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return statistics.median(known) if known else None
