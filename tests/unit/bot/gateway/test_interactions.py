"""How long a press is tried, and how long a shutdown waits for it, on a clock that jumps."""

import asyncio
from typing import Any, cast

import pytest

from bot.errors import TemporaryFailure
from bot.gateway.interaction_rest import Heard, InteractionRest
from bot.gateway.interactions import TRIED_S, Interactions
from bot.gateway.press import REFUSED, STOPPING, UNREACHABLE, Press
from bot.gateway.rest import RestError
from tests.support.presses import Waiting, build_press
from tests.support.virtual_time import run_virtually


class Discord:
    """Acknowledges every press, and keeps the answers; ``hangs`` answers to nothing but that."""

    def __init__(self, *, hangs: bool = False, refuses: bool = False) -> None:
        self.said: list[str] = []
        self._hangs = hangs
        self._refuses = refuses

    async def defer(self, _press: Press) -> Heard:
        return Heard.NOW

    async def answer(self, _press: Press, text: str) -> None:
        if self._hangs:
            await asyncio.Event().wait()
        if self._refuses:
            raise RestError("Discord answers with 404")
        self.said.append(text)


class Script(Waiting):
    """Fails as *failure* says, each time after *after_s*."""

    def __init__(self, failure: Exception, after_s: float = 0.0) -> None:
        super().__init__()
        self._failure = failure
        self._after_s = after_s

    async def send(self, *_: Any, **__: Any) -> Any:
        await asyncio.sleep(self._after_s)
        raise self._failure


def make(discord: Discord, waiting: Waiting) -> Interactions:
    return Interactions(cast("InteractionRest", discord), waiting.send, asyncio.create_task)


async def elapse(interactions: Interactions, grace_s: float) -> float:
    """Take a press, close once it is in flight, and return how long that took."""
    interactions.take(build_press())
    await asyncio.sleep(0.1)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await interactions.close(grace_s)
    return loop.time() - began_s


def test_gives_up_an_api_that_is_down() -> None:
    discord = Discord()
    waiting = Script(TemporaryFailure("the API is down"), after_s=1.0)

    async def main() -> float:
        return await elapse(make(discord, waiting), grace_s=600.0)

    assert TRIED_S / 2 < run_virtually(main()) <= TRIED_S + 1.0
    assert discord.said == [UNREACHABLE]


@pytest.mark.parametrize("hangs", [False, True])
def test_shutdown_keeps_its_grace(hangs: bool) -> None:
    """The last word is a part of it, even where Discord does not take it."""
    discord = Discord(hangs=hangs)
    waiting = Script(TemporaryFailure("the API is down"), after_s=100.0)

    async def main() -> tuple[float, int]:
        interactions = make(discord, waiting)
        return await elapse(interactions, grace_s=10.0), interactions.in_flight

    took_s, in_flight = run_virtually(main())
    assert (8.0 <= took_s <= 10.0, in_flight) == (True, 0)
    assert discord.said == ([] if hangs else [STOPPING])


@pytest.mark.parametrize("refuses", [False, True])
def test_defect_ends_with_the_press(refuses: bool) -> None:
    """It is logged, said, and counted once; it never reaches the tasks beside it."""
    discord = Discord(refuses=refuses)

    async def main() -> int:
        interactions = make(discord, Script(KeyError("a mistake")))
        async with asyncio.TaskGroup() as tasks:
            beside = tasks.create_task(asyncio.sleep(1.0, "fine"))
            interactions._create_task = tasks.create_task
            interactions.take(build_press())
        assert beside.result() == "fine"
        return interactions.failures

    assert run_virtually(main()) == 1
    assert discord.said == ([] if refuses else [REFUSED])
