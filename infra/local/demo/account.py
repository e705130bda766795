"""The count at the end: what was sent, held against what arrived in two places.

The one side is the stand-in's own log. The other is read back from where things ended up, not counted on
the way: the inputs of the executions, and the lines that stand in the channel.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from infra.local.demo.facts import Fact, parse_event, parse_message, parse_transition
from infra.local.standin import PostedMessage, Transition


class Execution(NamedTuple):
    """One execution and its input; ``started_at`` is in seconds since the Unix epoch."""

    name: str
    status: str
    started_at: float
    events: Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """How what was found differs from what was sent.

    ``invented`` is what was found and never sent; ``misplaced`` counts what stands elsewhere than its order
    within its guild would have it.
    """

    sent: int
    lost: Counter[Fact]
    duplicated: Counter[Fact]
    invented: Counter[Fact]
    misplaced: int

    @property
    def delivered(self) -> int:
        """How many of those sent were found, each counted once."""
        return self.sent - self.lost.total()

    @property
    def complete(self) -> bool:
        return not (self.lost or self.duplicated or self.invented)


def compare(sent: Sequence[Fact], found: Sequence[Fact]) -> Comparison:
    """Hold *found* against *sent*; both are in order."""
    surplus = Counter(found) - Counter(sent)
    known = set(sent)
    sent_by_guild, found_by_guild = _by_guild(sent), _by_guild(found)
    return Comparison(
        sent=len(sent),
        lost=Counter(sent) - Counter(found),
        duplicated=Counter({fact: count for fact, count in surplus.items() if fact in known}),
        invented=Counter({fact: count for fact, count in surplus.items() if fact not in known}),
        misplaced=sum(_misplaced(those, found_by_guild[guild]) for guild, those in sent_by_guild.items()),
    )


def _by_guild(facts: Sequence[Fact]) -> defaultdict[str, list[Fact]]:
    by_guild: defaultdict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        by_guild[fact.guild_id].append(fact)
    return by_guild


def _misplaced(sent: Sequence[Fact], found: Sequence[Fact]) -> int:
    """Return how many that both have are not in the longest sequence that both have in the same order.

    So neither a loss nor a double makes its neighbours look out of order. Takes time by the product of both.
    """
    longest = [0] * (len(found) + 1)
    for fact in sent:
        diagonal = 0
        for index, other in enumerate(found, start=1):
            above = longest[index]
            longest[index] = diagonal + 1 if fact == other else max(above, longest[index - 1])
            diagonal = above
    return (Counter(sent) & Counter(found)).total() - longest[-1]


@dataclass(frozen=True)
class Account:
    """The whole evening. ``burst`` transitions took ``burst_s``; the other times are medians.

    All are in seconds, and ``None`` where nothing was sent or nothing arrived.
    """

    workflow: Comparison
    channel: Comparison
    executions: int
    unsuccessful: Counter[str]
    messages: int
    slow_downs: int
    burst: int
    burst_s: float | None
    to_execution_s: float | None
    to_message_s: float | None
    to_message_in_burst_s: float | None

    @property
    def delivered(self) -> int:
        return min(self.workflow.delivered, self.channel.delivered)

    @property
    def lost(self) -> int:
        return max(self.workflow.lost.total(), self.channel.lost.total())

    @property
    def duplicated(self) -> int:
        return max(self.workflow.duplicated.total(), self.channel.duplicated.total())

    @property
    def balanced(self) -> bool:
        """Whether everything arrived once, in order, and every execution succeeded.

        The order in the channel is not part of it: a message that Discord told to wait may be overtaken.
        """
        return (
            self.workflow.complete
            and self.workflow.misplaced == 0
            and self.channel.complete
            and not self.unsuccessful
        )


def draw_up(
    sent: Sequence[Transition],
    executions: Sequence[Execution],
    messages: Sequence[PostedMessage],
    *,
    burst: range,
    slow_downs: int,
) -> Account:
    """Draw up the account; *burst* are the places in *sent* that the burst takes."""
    facts = [parse_transition(transition) for transition in sent]
    by_age = sorted(executions, key=lambda execution: execution.started_at)
    events = [(parse_event(event), run.started_at) for run in by_age for event in run.events]
    lines = [(fact, message.received_at) for message in messages for fact in parse_message(message.body)]
    told = [fact.as_told_in_channel() for fact in facts]
    times = [transition.at for transition in sent]
    to_execution = _delays(facts, times, events)
    to_message = _delays(told, times, lines)
    return Account(
        workflow=compare(facts, [fact for fact, _ in events]),
        channel=compare(told, [fact for fact, _ in lines]),
        executions=len(executions),
        unsuccessful=Counter(run.status for run in executions if run.status != "SUCCEEDED"),
        messages=len(messages),
        slow_downs=slow_downs,
        burst=len(burst),
        burst_s=times[burst[-1]] - times[burst[0]] if burst else None,
        to_execution_s=_median(list(to_execution.values())),
        to_message_s=_median([delay for place, delay in to_message.items() if place not in burst]),
        to_message_in_burst_s=_median([delay for place, delay in to_message.items() if place in burst]),
    )


def _delays(
    sent: Sequence[Fact], times: Sequence[float], found: Sequence[tuple[Fact, float]]
) -> dict[int, float]:
    """Return how long each of *sent*, by its place, was under way; the first of two alike is found first."""
    arrivals: defaultdict[Fact, list[float]] = defaultdict(list)
    for fact, at in reversed(found):
        arrivals[fact].append(at)
    return {
        place: arrivals[fact].pop() - at
        for place, (fact, at) in enumerate(zip(sent, times, strict=True))
        if arrivals[fact]
    }


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
