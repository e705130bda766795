"""``python -m tests.bench.fleet``: how late messages are with many guilds, at AWS's and Discord's quotas.

A simulation on a clock of its own. The relay's follower is the real one; lanes, Step Functions and Discord
are models that hold to the documented quotas. Every guild has a webhook of its own. The table stands in
``infra/README.md``, under "Limits, and where they bind".
"""

# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html

import asyncio
import logging
import random
import statistics
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import structlog

from bot.api.execution_responses import Execution
from bot.delivery.follower import Follower
from bot.delivery.polls import Budget
from bot.errors import TemporaryFailure
from bot.outbox.batch import Acceptance, Batch, Deferred, Delivered, Report
from bot.routing.lane import Lane
from tests.support.virtual_time import run_virtually
from workflow.registry import max_events

_POST_S: Final = 0.35
"""From the start of an execution to its end, where Discord does not throttle."""
_START_PER_S: Final = 150.0
_DESCRIBE_PER_S: Final = 15.0
_DESCRIBE_AT_ONCE: Final = 300
_WEBHOOK: Final = (5, 2.0)
_CHANNEL: Final = (30, 60.0)


class Fleet(NamedTuple):
    """So many guilds with *events_per_s* of all, and the polls: of the relay, and what the account allows."""

    name: str
    guilds: int
    events_per_s: float
    polls_per_s: float = 10.0
    describe_per_s: float = _DESCRIBE_PER_S
    for_s: float = 1800.0


_EVENING_PER_S: Final = 4 * 100 / 86_400
"""Of one guild: a hundred events a day, and four times as busy in the evening."""

_TENTH_PER_S: Final = 10_000 * _EVENING_PER_S

FLEETS: Final = (
    Fleet("10 guilds, an event a second each", 10, 10),
    Fleet("100 guilds, an event a second each", 100, 100),
    Fleet("1,000 guilds in the evening", 1_000, 1_000 * _EVENING_PER_S),
    # Ten processes share the account; this is one of them.
    Fleet(
        "100,000 guilds in the evening, one of 10 processes",
        10_000,
        10_000 * _EVENING_PER_S,
        1.0,
        1.5,
        4 * 3600,
    ),
    Fleet("the same, with 600 `DescribeExecution` a second", 10_000, 10_000 * _EVENING_PER_S, 55, 60),
)


class Outcome(NamedTuple):
    messages: int
    events_per_message: float
    median_s: float
    late_s: float
    polls_per_s: float
    throttled_polls: int


@dataclass
class _Window:
    """So many in a time, as Discord counts: the window begins with its first."""

    limit: tuple[int, float]
    begun_s: float = float("-inf")
    used: int = 0

    def next_s(self, now_s: float) -> float:
        """Take the next place, and return when it is."""
        count, per_s = self.limit
        if now_s >= self.begun_s + per_s:
            self.begun_s, self.used = now_s, 0
        elif self.used >= count:
            self.begun_s, self.used = self.begun_s + per_s, 0
        self.used += 1
        return max(now_s, self.begun_s)


@dataclass
class _Guild:
    """A lane: the times of the events that wait, and of those in flight."""

    waiting: deque[float] = field(default_factory=deque)
    in_flight: list[float] = field(default_factory=list)
    ends_s: float = 0.0
    webhook: _Window = field(default_factory=lambda: _Window(_WEBHOOK))
    channel: _Window = field(default_factory=lambda: _Window(_CHANNEL))


class _Simulation:
    def __init__(self, fleet: Fleet, tasks: asyncio.TaskGroup) -> None:
        self._fleet = fleet
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._guilds = [_Guild() for _ in range(fleet.guilds)]
        self._starts = _Window((int(_START_PER_S), 1.0))
        self._describes = Budget(fleet.describe_per_s, at_once=_DESCRIBE_AT_ONCE)
        self._limit = max_events("notify")
        self._follower = Follower(
            self._describe,
            self._report,
            tasks.create_task,
            waits_behind=lambda batch: bool(self._guilds[batch.lane_id].waiting),
            polls_per_s=fleet.polls_per_s,
        )
        self.counts: Counter[str] = Counter()
        self.delays_s: list[float] = []

    async def run(self) -> None:
        dice = random.Random(1)
        following = self._tasks.create_task(self._follower.run())
        until_s = self._loop.time() + self._fleet.for_s
        while (now_s := self._loop.time()) < until_s:
            number = dice.randrange(self._fleet.guilds)
            self._guilds[number].waiting.append(now_s)
            self._start(number)
            await asyncio.sleep(dice.expovariate(self._fleet.events_per_s))
        following.cancel()

    def _start(self, number: int) -> None:
        """Begin the lane's next batch, if it has none in flight and something waits."""
        guild = self._guilds[number]
        if guild.in_flight or not guild.waiting:
            return
        guild.in_flight = [guild.waiting.popleft() for _ in range(min(self._limit, len(guild.waiting)))]
        started_s = self._starts.next_s(self._loop.time())
        posted_s = guild.channel.next_s(guild.webhook.next_s(started_s + _POST_S))
        guild.ends_s = posted_s
        self.delays_s += [posted_s - event_s for event_s in guild.in_flight]
        self.counts["messages"] += 1
        accepted = Acceptance(str(number), 1, 0)
        batch = Batch(number, Lane("notify", str(number)), str(number), b"", ("e",), 0, accepted=accepted)
        self._loop.call_at(started_s, self._follower.follow, batch)

    async def _describe(self, arn: str) -> Execution:
        self.counts["polls"] += 1
        await asyncio.sleep(0.05)
        now_s = self._loop.time()
        if not self._describes.take(now_s):
            self.counts["throttled"] += 1
            raise TemporaryFailure("throttled", code="ThrottlingException")
        ended = now_s >= self._guilds[int(arn)].ends_s
        return Execution(arn, arn, "SUCCEEDED" if ended else "RUNNING", 0, 1 if ended else None, *[None] * 4)

    def _report(self, report: Report) -> None:
        if isinstance(report, Delivered | Deferred):
            number = report.batch.lane_id
            self._guilds[number].in_flight = []
            self._start(number)


async def simulate(fleet: Fleet) -> Outcome:
    async with asyncio.TaskGroup() as tasks:
        simulation = _Simulation(fleet, tasks)
        await simulation.run()
    delays, counts = simulation.delays_s, simulation.counts
    return Outcome(
        counts["messages"],
        len(delays) / counts["messages"],
        statistics.median(delays),
        statistics.quantiles(delays, n=100)[-1],
        counts["polls"] / fleet.for_s,
        counts["throttled"],
    )


def render(outcomes: Sequence[tuple[Fleet, Outcome]]) -> str:
    """Return the table, in Markdown."""
    columns = ("events in a message", "event to message, median", "99 in 100 within", "polls/s of a process")
    rows = [f"| | {' | '.join(columns)} | refused |", "|---|---|---|---|---|---|"]
    for fleet, found in outcomes:
        rows.append(
            f"| {fleet.name} | {found.events_per_message:.1f} | {_span(found.median_s)} "
            f"| {_span(found.late_s)} | {found.polls_per_s:.1f} | {found.throttled_polls} |"
        )
    return "\n".join(rows)


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    print(render([(fleet, run_virtually(simulate(fleet))) for fleet in FLEETS]))  # noqa: T201
