"""While an endpoint is down, one request at a time probes it."""

import asyncio
from collections.abc import Callable

import pytest

from bot.delivery.circuit_breaker import FAILURES_TO_OPEN, CircuitBreaker


class Sleeper:
    """A sleep that ends when the test says so."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._wake = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        await self._wake.wait()

    def wake(self) -> None:
        self._wake.set()
        self._wake = asyncio.Event()


@pytest.fixture
def sleeper() -> Sleeper:
    return Sleeper()


@pytest.fixture
def breaker(sleeper: Sleeper) -> CircuitBreaker:
    return CircuitBreaker(
        sleep=sleeper, backoff=lambda failures, retry_after_s: (retry_after_s or 0) + failures
    )


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(100):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


def state(breaker: CircuitBreaker) -> str:
    return breaker.state


async def trip(breaker: CircuitBreaker) -> None:
    for _ in range(FAILURES_TO_OPEN):
        breaker.fail(probe=await breaker.enter())


async def test_single_failures_keep_it_closed(breaker: CircuitBreaker) -> None:
    for _ in range(20):
        breaker.fail(probe=await breaker.enter())
        breaker.fail(probe=await breaker.enter())
        breaker.succeed(probe=await breaker.enter())
    assert state(breaker) == "closed"


async def test_one_probe_goes_while_open(breaker: CircuitBreaker, sleeper: Sleeper) -> None:
    """Its success lets everybody through."""
    await trip(breaker)
    assert state(breaker) == "open"
    through: list[bool] = []

    async def request() -> None:
        through.append(await breaker.enter())

    async with asyncio.TaskGroup() as tasks:
        for _ in range(50):
            tasks.create_task(request())
        await until(lambda: len(sleeper.asked) == 1)
        sleeper.wake()
        await until(lambda: through == [True])
        assert state(breaker) == "half-open"
        breaker.fail(probe=True)
        await until(lambda: len(sleeper.asked) == 2)
        sleeper.wake()
        await until(lambda: through == [True, True])
        breaker.succeed(probe=True)
    assert through == [True, True] + [False] * 48
    assert sleeper.asked == [FAILURES_TO_OPEN, FAILURES_TO_OPEN + 1]


async def test_retry_after_keeps_it_open_longer(breaker: CircuitBreaker, sleeper: Sleeper) -> None:
    await trip(breaker)
    assert breaker.open_s == FAILURES_TO_OPEN
    entering = asyncio.create_task(breaker.enter())
    await until(lambda: len(sleeper.asked) == 1)
    sleeper.wake()
    assert await entering
    breaker.fail(30, probe=True)
    assert breaker.open_s == 30 + FAILURES_TO_OPEN + 1


async def test_late_failures_change_nothing(breaker: CircuitBreaker) -> None:
    late = await breaker.enter()
    await trip(breaker)
    for _ in range(60):
        breaker.fail(probe=late)
    assert breaker.open_s == FAILURES_TO_OPEN


async def test_late_success_closes_it(breaker: CircuitBreaker, sleeper: Sleeper) -> None:
    late = await breaker.enter()
    await trip(breaker)
    waiting = [asyncio.create_task(breaker.enter()) for _ in range(3)]
    await until(lambda: len(sleeper.asked) == 1)
    breaker.succeed(probe=late)
    await until(lambda: sum(task.done() for task in waiting) == 2)
    sleeper.wake()
    await asyncio.gather(*waiting)


@pytest.mark.parametrize("asleep", [True, False])
async def test_abandoned_probe_hands_over(breaker: CircuitBreaker, sleeper: Sleeper, asleep: bool) -> None:
    await trip(breaker)
    first = asyncio.create_task(breaker.enter())
    await until(lambda: len(sleeper.asked) == 1)
    second = asyncio.create_task(breaker.enter())
    if asleep:
        first.cancel()
    else:
        sleeper.wake()
        breaker.abandon(probe=await first)
    await until(lambda: len(sleeper.asked) == 2)
    sleeper.wake()
    assert await second
