"""The measurements: each starts a stand-in for Discord, a stub of the API and one bot between them.

Both ends are in this process, so every time is taken from one clock. The bot has a process, and with two
cores a core, of its own.
"""

import asyncio
import gc
import math
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from infra.local.discord import StandIn
from tests.bench.bots import Start
from tests.bench.telling import Telling, read_telling
from tests.bench.workload import Place, furnish, seat, visit, wander
from tests.support.ingress import StubIngress
from tests.support.process import Child

_CONNECT_TIMEOUT_S = 60.0
_QUIET_S = 2.0
_QUIET_CPU_S = 0.1
_WARM_UP_S = 1.0
_SEED = 1


@dataclass(frozen=True, slots=True)
class Sustained:
    """A burst, from the first frame to the last request that was accepted."""

    per_s: float
    cpu_per_transition_s: float
    events_per_request: float
    telling: Telling


@dataclass(frozen=True, slots=True)
class Latency:
    """The time from handing a frame over to having read its request, at a steady rate.

    ``warm_p99_s`` leaves out the first second, in which connections are opened and guilds are met.
    """

    p50_s: float
    p99_s: float
    warm_p99_s: float
    cpu_per_transition_s: float
    telling: Telling


class TimedIngress(StubIngress):
    """Records when each execution was started."""

    def __init__(self, *, latency_s: float = 0.0) -> None:
        super().__init__(latency_s=latency_s)
        self.started_at: list[float] = []

    def accept(self, name: str, body: bytes) -> web.Response:
        if name not in self.executions:
            self.started_at.append(time.perf_counter())
        return super().accept(name, body)


@dataclass(frozen=True, slots=True)
class Bench:
    discord: StandIn
    ingress: TimedIngress
    places: list[Place]
    bot: Child

    async def settle(self, count: int) -> None:
        """Wait until *count* events have arrived, or until none arrives and the bot is idle."""
        while True:
            arrived, cpu_s = self.ingress.event_count, self.bot.usage().cpu_s
            try:
                await self.ingress.wait_for_events(count, timeout_s=_QUIET_S)
            except TimeoutError:
                idle = self.bot.usage().cpu_s - cpu_s < _QUIET_CPU_S
                if idle and self.ingress.event_count == arrived:
                    return
            else:
                return

    def read_telling(self) -> Telling:
        return read_telling(self.discord.sent, self.ingress.events())


async def measure_sustained(
    start: Start, directory: Path, *, transitions: int, guilds: int = 20, latency_s: float = 0.0
) -> Sustained:
    """Send *transitions* as fast as the bot takes them, to an API that answers after *latency_s*."""
    async with _bench(start, directory, guilds, channels=10, people=25, latency_s=latency_s) as bench:
        cpu_s = bench.bot.usage().cpu_s
        with _no_collector():
            begin = time.perf_counter()
            await wander(bench.places, transitions, seed=_SEED)
            await bench.settle(transitions)
        requests = len(bench.ingress.started_at)
        return Sustained(
            per_s=bench.ingress.event_count / (bench.ingress.started_at[-1] - begin),
            cpu_per_transition_s=(bench.bot.usage().cpu_s - cpu_s) / transitions,
            events_per_request=bench.ingress.event_count / requests,
            telling=bench.read_telling(),
        )


async def measure_latency(
    start: Start, directory: Path, *, per_second: float, seconds: float, guilds: int = 20
) -> Latency:
    """Send transitions at random times, *per_second* of them on average."""
    people = math.ceil(per_second * seconds / 3 / guilds)
    async with _bench(start, directory, guilds, channels=10, people=people) as bench:
        cpu_s = bench.bot.usage().cpu_s
        with _no_collector():
            sent = await visit(bench.places, per_second=per_second, seed=_SEED)
            await bench.settle(len(sent))
        cpu_s = bench.bot.usage().cpu_s - cpu_s
        latencies, warm = [], []
        began = min(sent.values())
        for at, given in zip(bench.ingress.started_at, bench.ingress.inputs(), strict=True):
            for event in given["events"]:
                call = event["data"]["user"]["id"], event["type"].rpartition(".")[2]
                # A wrong event has no frame.
                if call in sent:
                    latencies.append(at - sent[call])
                    if sent[call] - began >= _WARM_UP_S:
                        warm.append(latencies[-1])
        return Latency(
            p50_s=percentile(latencies, 0.50),
            p99_s=percentile(latencies, 0.99),
            warm_p99_s=percentile(warm, 0.99),
            cpu_per_transition_s=cpu_s / len(sent),
            telling=bench.read_telling(),
        )


async def measure_memory(start: Start, directory: Path, *, guilds: int, transitions: int) -> int:
    """Return the bot's peak memory in bytes with so many guilds of 10 channels, 10 roles and 3 in voice."""
    async with _bench(start, directory, guilds, channels=10, people=6, seated=3) as bench:
        bench.discord.sent.clear()
        await wander(bench.places, transitions, seed=_SEED)
        await bench.settle(transitions)
        return bench.bot.usage().peak_rss_bytes


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of *values* that *share* of them do not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


@asynccontextmanager
async def _bench(
    start: Start,
    directory: Path,
    guilds: int,
    *,
    channels: int,
    people: int,
    seated: int = 0,
    latency_s: float = 0.0,
) -> AsyncIterator[Bench]:
    """Yield everything connected and furnished, in a directory of its own inside *directory*."""
    with tempfile.TemporaryDirectory(dir=directory, prefix="bench-") as name:
        async with StandIn() as discord, TimedIngress(latency_s=latency_s) as ingress:
            places = furnish(discord, guilds=guilds, channels=channels, people=people)
            await seat(places, seated)
            async with start(Path(name), discord, ingress) as bot:
                waiting = asyncio.create_task(discord.wait_connected(_CONNECT_TIMEOUT_S))
                while not waiting.done():
                    bot.check_alive()
                    await asyncio.wait([waiting], timeout=0.2)
                await waiting
                yield Bench(discord, ingress, places, bot)


@contextmanager
def _no_collector() -> Iterator[None]:
    """Keep the garbage collector from pausing this process, which takes the times."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
