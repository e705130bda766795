"""The heartbeat: when it is sent, when it is not, and what is logged when the API rejects it."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
import structlog
from structlog.typing import EventDict

from bot.delivery.heartbeat import Heartbeat
from bot.errors import DeliveryError, Rejected, TemporaryFailure, Unauthorized

EVERY_S = 60.0
REFUSED = Unauthorized("the API answered 403", status=403)
MISSING = TemporaryFailure("the API answered 404", status=404)
DOWN = TemporaryFailure("the API answered 503", status=503)
SILENT = TemporaryFailure("the API did not answer in time")


@pytest.fixture(autouse=True)
def _every_level(_quiet_logs: None) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))


class Over(Exception):
    """The test has seen enough."""


class Bench:
    """A heartbeat whose time passes only in its sleeps and its requests, which take ``request_s``."""

    def __init__(self, *, first: float = 0.0, every_s: float = EVERY_S) -> None:
        self.now_s = 1000.0
        self.sleeps: list[float] = []
        self.started: list[tuple[str, str, dict[str, Any]]] = []
        self.beaten_s: list[float] = []
        self.answers: deque[Exception | None] = deque()
        self.reasons: deque[Sequence[str]] = deque()
        self.request_s = 0.0
        self.most_sleeps = 1
        self.heart = Heartbeat(
            self._start,
            every_s=every_s,
            not_ready=lambda: self.reasons.popleft() if self.reasons else [],
            describe=lambda: {"guilds": 2, "shards": 1, "waiting": 7},
            clock=lambda: 1_700_000_000_000,
            monotonic_s=lambda: self.now_s,
            sleep=self._sleep,
            random=lambda: first,
        )

    async def _start(self, workflow: str, name: str, body: bytes) -> str:
        self.started.append((workflow, name, orjson.loads(body)))
        self.beaten_s.append(self.now_s - 1000.0)
        self.now_s += self.request_s
        if self.answers and (answer := self.answers.popleft()) is not None:
            raise answer
        return "arn"

    async def _sleep(self, seconds: float) -> None:
        if len(self.sleeps) == self.most_sleeps:
            raise Over
        self.sleeps.append(seconds)
        self.now_s += seconds

    async def beat(self, times: int) -> list[EventDict]:
        """Let it beat, or not beat, *times*, and return what it logged."""
        self.most_sleeps = times
        with structlog.testing.capture_logs() as logs, pytest.raises(Over):
            await self.heart.run()
        return list(logs)


async def test_sends_name_and_state() -> None:
    bench = Bench()
    await bench.beat(2)
    (workflow, name, body), (_, second, _) = bench.started
    assert workflow == "heartbeat"
    assert body == {"id": name, "guilds": 2, "shards": 1, "waiting": 7}
    assert name.startswith("heartbeat-")
    assert name != second


async def test_beats_at_even_intervals() -> None:
    """However long a request takes."""
    bench = Bench()
    bench.request_s = 20.0
    await bench.beat(4)
    assert bench.beaten_s == [0.0, 60.0, 120.0, 180.0]


async def test_slow_request_delays_no_more() -> None:
    bench = Bench(every_s=10.0)
    bench.request_s = 35.0
    await bench.beat(3)
    assert bench.beaten_s == [0.0, 35.0, 70.0]


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.999])
async def test_first_beat_is_jittered(fraction: float) -> None:
    """Processes that start together do not beat together."""
    bench = Bench(first=fraction)
    await bench.beat(2)
    assert bench.beaten_s == pytest.approx([fraction * EVERY_S, (fraction + 1) * EVERY_S])


async def test_pauses_while_not_ready() -> None:
    bench = Bench()
    bench.reasons.extend([["not connected to Discord yet"], [], ["the disk is full"], []])
    await bench.beat(4)
    assert bench.beaten_s == [60.0, 180.0]
    assert (bench.heart.beats, bench.heart.failures) == (2, 0)


async def test_logs_acceptance_once() -> None:
    logs = await Bench().beat(3)
    assert [line["event"] for line in logs] == ["heartbeat_accepted"]


@pytest.mark.parametrize("error", [REFUSED, DOWN, Rejected("no", status=400)])
async def test_logs_failure_and_recovery_once(error: DeliveryError) -> None:
    bench = Bench()
    bench.answers.extend([None, error, error, error, None, None])
    logs = await bench.beat(6)
    assert [line["event"] for line in logs] == [
        "heartbeat_accepted",
        "heartbeat_failed",
        "heartbeat_accepted",
    ]
    assert (logs[1]["log_level"], logs[1]["reason"], logs[1]["retry_s"]) == ("warning", str(error), EVERY_S)
    assert (bench.heart.beats, bench.heart.failures) == (3, 3)


async def test_logs_another_failure_too() -> None:
    bench = Bench()
    bench.answers.extend([DOWN, SILENT, REFUSED, DOWN])
    logs = await bench.beat(4)
    assert [line["reason"] for line in logs] == [str(DOWN), str(REFUSED), str(DOWN)]


async def test_missing_route_is_asked_rarely() -> None:
    """It is logged once."""
    bench = Bench()
    bench.answers.extend([MISSING, MISSING, None])
    logs = await bench.beat(4)
    assert bench.beaten_s == [0.0, 900.0, 1800.0, 1860.0]
    assert [line["event"] for line in logs] == ["heartbeat_failed", "heartbeat_accepted"]
    assert "voice-relay deploy" in logs[0]["reason"]


async def test_any_exception_is_logged_only() -> None:
    bench = Bench()
    bench.answers.extend([ZeroDivisionError("oh"), ZeroDivisionError("oh"), None])
    logs = await bench.beat(3)
    assert [line["event"] for line in logs] == ["heartbeat_failed", "heartbeat_accepted"]
    assert isinstance(logs[0]["exc_info"], ZeroDivisionError)


async def test_cancels_in_mid_request() -> None:
    asked, never = asyncio.Event(), asyncio.Event()

    async def start(*_: object) -> None:
        asked.set()
        await never.wait()

    heart = Heartbeat(start, every_s=1.0, not_ready=list, describe=dict, random=lambda: 0.0)
    task = asyncio.create_task(heart.run())
    async with asyncio.timeout(10):
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert heart.failures == 0


async def test_knows_its_age() -> None:
    bench = Bench()
    bench.answers.extend([None, DOWN, DOWN])
    assert bench.heart.age_s == 0.0
    await bench.beat(3)
    assert bench.heart.age_s == 3 * EVERY_S - EVERY_S
