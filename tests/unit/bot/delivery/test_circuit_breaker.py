"""One sick endpoint pauses for everybody."""

import asyncio
from collections.abc import Callable

import pytest

from bot.delivery.circuit_breaker import FAILURES_TO_PAUSE, EndpointGate


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
def gate(sleeper: Sleeper) -> EndpointGate:
    return EndpointGate(sleep=sleeper, backoff=lambda failures, wish: (wish or 0) + failures)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(100):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


async def pause(gate: EndpointGate) -> None:
    for _ in range(FAILURES_TO_PAUSE):
        gate.fail(probe=await gate.enter())


async def test_a_failure_now_and_then_pauses_nobody(gate: EndpointGate) -> None:
    for _ in range(20):
        gate.fail(probe=await gate.enter())
        gate.fail(probe=await gate.enter())
        gate.succeed(probe=await gate.enter())
    assert not gate.paused


async def test_while_paused_one_probe_goes_and_its_success_lets_everybody_through(
    gate: EndpointGate, sleeper: Sleeper
) -> None:
    await pause(gate)
    through: list[bool] = []

    async def request() -> None:
        through.append(await gate.enter())

    async with asyncio.TaskGroup() as tasks:
        for _ in range(50):
            tasks.create_task(request())
        await until(lambda: len(sleeper.asked) == 1)
        sleeper.wake()
        await until(lambda: through == [True])
        gate.fail(probe=True)
        await until(lambda: len(sleeper.asked) == 2)
        sleeper.wake()
        await until(lambda: through == [True, True])
        gate.succeed(probe=True)
    assert through == [True, True] + [False] * 48
    assert sleeper.asked == [FAILURES_TO_PAUSE, FAILURES_TO_PAUSE + 1]


async def test_the_endpoints_own_wish_lengthens_the_pause(gate: EndpointGate, sleeper: Sleeper) -> None:
    await pause(gate)
    assert gate.pause_s == FAILURES_TO_PAUSE
    entering = asyncio.create_task(gate.enter())
    await until(lambda: len(sleeper.asked) == 1)
    sleeper.wake()
    assert await entering
    gate.fail(30, probe=True)
    assert gate.pause_s == 30 + FAILURES_TO_PAUSE + 1


async def test_requests_from_before_the_pause_do_not_lengthen_it(gate: EndpointGate) -> None:
    late = await gate.enter()
    await pause(gate)
    for _ in range(60):
        gate.fail(probe=late)
    assert gate.pause_s == FAILURES_TO_PAUSE


async def test_a_success_from_before_the_pause_ends_it(gate: EndpointGate, sleeper: Sleeper) -> None:
    late = await gate.enter()
    await pause(gate)
    waiting = [asyncio.create_task(gate.enter()) for _ in range(3)]
    await until(lambda: len(sleeper.asked) == 1)
    gate.succeed(probe=late)
    await until(lambda: sum(task.done() for task in waiting) == 2)
    sleeper.wake()
    await asyncio.gather(*waiting)


@pytest.mark.parametrize("asleep", [True, False])
async def test_a_probe_that_is_given_up_hands_over_to_another(
    gate: EndpointGate, sleeper: Sleeper, asleep: bool
) -> None:
    await pause(gate)
    first = asyncio.create_task(gate.enter())
    await until(lambda: len(sleeper.asked) == 1)
    second = asyncio.create_task(gate.enter())
    if asleep:
        first.cancel()
    else:
        sleeper.wake()
        gate.leave(probe=await first)
    await until(lambda: len(sleeper.asked) == 2)
    sleeper.wake()
    assert await second
