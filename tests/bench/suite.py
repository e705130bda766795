"""Defines the measurements and their sizes, runs them and sums them up."""

import statistics
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.bots import BEFORE, FOLLOWED, UNFOLLOWED, Start, choose_bots
from tests.bench.machine import watch_others
from tests.bench.measure import measure_latency, measure_memory, measure_sustained
from tests.bench.telling import Telling

Figures = dict[str, float]
"""Numbers by name, of one bot."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is slow gets fewer transitions in a burst: the plain bot, and lanes that wait for their rounds."""

    repeats: int
    transitions: int
    plain_transitions: int
    lane_transitions: int
    slow_api_s: float
    per_second: float
    seconds: float
    many_guilds: int
    traffic: int
    backlog: int


FULL = Plan(
    repeats=3,
    transitions=60_000,
    plain_transitions=5_000,
    lane_transitions=10_000,
    slow_api_s=0.020,
    per_second=200,
    seconds=8,
    many_guilds=10_000,
    traffic=2_000,
    backlog=1_000_000,
)
QUICK = Plan(
    repeats=1,
    transitions=10_000,
    plain_transitions=1_000,
    lane_transitions=1_000,
    slow_api_s=0.020,
    per_second=200,
    seconds=2,
    many_guilds=1_000,
    traffic=500,
    backlog=20_000,
)


@dataclass(frozen=True, slots=True)
class Result:
    """One measurement: the figures of every repetition by bot, and the load of other programs."""

    name: str
    runs: dict[str, list[Figures]]
    others_cores: float | None

    def sum_up(self, bot: str) -> Figures:
        """Return the median of each figure, but the worst of each share of what went wrong."""
        runs = self.runs[bot]
        return {name: _SUMS.get(name, statistics.median)([run[name] for run in runs]) for name in runs[0]}


_SUMS: dict[str, Callable[[Sequence[float]], float]] = {
    "right_share": min,
    "wrong_share": max,
    "lost_share": max,
    "doubled_share": max,
    "exact_share": min,
}


async def _sustained(
    start: Start, directory: Path, transitions: int, *, latency_s: float, guilds: int = 20
) -> Figures:
    found = await measure_sustained(
        start, directory, transitions=transitions, guilds=guilds, latency_s=latency_s
    )
    return {
        "per_s": found.per_s,
        "cpu_s": found.cpu_per_transition_s,
        "events_per_request": found.events_per_request,
        **_share(found.telling),
    }


async def _at_once(plan: Plan, bot: str, start: Start, directory: Path) -> Figures:
    return await _sustained(start, directory, _burst(plan, bot), latency_s=0.0)


async def _slow_api(plan: Plan, bot: str, start: Start, directory: Path) -> Figures:
    return await _sustained(start, directory, _burst(plan, bot), latency_s=plan.slow_api_s)


async def _one_guild(plan: Plan, _bot: str, start: Start, directory: Path) -> Figures:
    return await _sustained(start, directory, plan.lane_transitions, latency_s=plan.slow_api_s, guilds=1)


async def _followed(plan: Plan, _bot: str, start: Start, directory: Path) -> Figures:
    return await _sustained(start, directory, plan.lane_transitions, latency_s=plan.slow_api_s)


def _burst(plan: Plan, bot: str) -> int:
    return plan.plain_transitions if bot == "plain" else plan.transitions


async def _latency(plan: Plan, bot: str, start: Start, directory: Path) -> Figures:
    found = await measure_latency(start, directory, per_second=plan.per_second, seconds=plan.seconds)
    return {
        "p50_s": found.p50_s,
        "p99_s": found.p99_s,
        "warm_p99_s": found.warm_p99_s,
        "cpu_s": found.cpu_per_transition_s,
        **_share(found.telling),
    }


async def _memory(plan: Plan, _bot: str, start: Start, directory: Path) -> Figures:
    return {
        name: await measure_memory(start, directory, guilds=guilds, transitions=plan.traffic)
        for name, guilds in (("one_bytes", 1), ("many_bytes", plan.many_guilds))
    }


Measurement = Callable[[Plan, str, Start, Path], Awaitable[Figures]]
MEASUREMENTS: dict[str, Measurement] = {
    "sustained": _at_once,
    "slow-api": _slow_api,
    "one-guild": _one_guild,
    "followed": _followed,
    "latency": _latency,
    "memory": _memory,
}


_BOTS_OF: dict[str, tuple[str, ...]] = {
    "sustained": ("relay", "relaxed", "plain"),
    "latency": ("relay", "relaxed", "plain"),
    "one-guild": ("relay",),
    "followed": ("relay",),
}
"""The cost of a flushed commit shows where the API answers at once, the plain bot has no order in a guild."""


async def run_suite(
    plan: Plan,
    names: Iterable[str],
    directory: Path,
    tell: Callable[[str], object],
    *,
    before: Path | None = None,
) -> list[Result]:
    """Run the named measurements, alternating the bots so that all meet the same conditions.

    The relay of the checkout *before* is among them where one is given.
    """
    results = []
    for name in names:
        bots = choose_bots(before, FOLLOWED if name == "followed" else UNFOLLOWED)
        wanted = (*_BOTS_OF.get(name, ("relay", "plain")), BEFORE)
        runs: dict[str, list[Figures]] = {bot: [] for bot in wanted if bot in bots}
        with watch_others() as others:
            for number in range(plan.repeats):
                for bot in runs:
                    tell(f"{name}: {bot}, {number + 1} of {plan.repeats}")
                    runs[bot].append(await MEASUREMENTS[name](plan, bot, bots[bot], directory))
        results.append(Result(name, runs, others.cores))
    return results


def _share(telling: Telling) -> Figures:
    return {
        "right_share": telling.right / telling.sent,
        "wrong_share": telling.wrong / telling.sent,
        "lost_share": telling.lost / telling.sent,
        "doubled_share": telling.doubled / telling.sent,
        "exact_share": telling.exact_guilds / telling.guilds,
    }
