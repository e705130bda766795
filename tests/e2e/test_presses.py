"""Presses of buttons while the relay, a process of its own, is stopped, killed and started again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from bot.gateway.press import SIGNALLED
from infra.local.discord import Member, Message, Press, StandIn
from infra.local.discord.interactions import FAILED, THINKING
from tests.support.ingress import StubIngress
from tests.support.presses import CARD, build_answer
from tests.support.process import Child, start_relay

TIMEOUT_S = 30.0
NOW = 1_795_246_200.0


class Scene:
    """A card in a guild, somebody to press, and Discord's clock, which stands still."""

    def __init__(self) -> None:
        self.now = NOW
        self.standin = StandIn(clock=lambda: self.now)
        guild = self.standin.world.add_guild("Base")
        self.tom: Member = guild.add_member("tom")
        self.card: Message = self.standin.chat.say(
            self.standin.world.bot, guild.add_text_channel("staff"), CARD
        )
        self.api = StubIngress()

    async def press(self) -> Press:
        return await self.standin.press(self.tom, self.card, "Admit")

    async def answer_to(self, press: Press) -> str:
        return await self.standin.interactions.wait_answered(press, TIMEOUT_S)

    def relay(self, directory: Path) -> AbstractAsyncContextManager[Child]:
        return start_relay(directory, discord_api_url=self.standin.api_url, api_endpoint=self.api.endpoint)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    async with scene.standin, scene.api:
        yield scene


async def test_press_survives_a_kill(scene: Scene, tmp_path: Path) -> None:
    """Killed after the signal was sent, before its answer: the next process asks, and answers the presser."""
    over = asyncio.Event()
    decided = {"signal": "admit", "by": {"kind": "user", "id": scene.tom.id}, "at": "2026-11-21T07:30:00Z"}
    scene.api.answers.extend(
        [build_answer("signalled", after=over.wait), build_answer("already_decided", decided)]
    )
    async with scene.relay(tmp_path) as relay:
        await relay.wait_ready()
        press = await scene.press()
        async with asyncio.timeout(TIMEOUT_S):
            while not scene.api.requests:
                scene.api.changed.clear()
                await scene.api.changed.wait()
        relay.kill()
        await relay.wait()
    scene.now += 60
    assert press.shown == THINKING
    async with scene.relay(tmp_path) as relay:
        assert await scene.answer_to(press) == "You already decided this <t:1795246200:R>."
        relay.terminate()
        assert await relay.wait() == 0
    over.set()
    assert scene.standin.counts["identify"] == 1
    assert press.token not in relay.stdout


async def test_stop_waits_for_the_answer(scene: Scene, tmp_path: Path) -> None:
    go_on = asyncio.Event()
    scene.api.answers.append(build_answer("signalled", after=go_on.wait))
    async with scene.relay(tmp_path) as relay:
        await relay.wait_ready()
        press = await scene.press()
        async with asyncio.timeout(TIMEOUT_S):
            while not scene.api.requests:
                scene.api.changed.clear()
                await scene.api.changed.wait()
        relay.terminate()
        await relay.wait_for_log("stopping")
        go_on.set()
        assert await relay.wait() == 0
    assert press.shown == SIGNALLED
    assert [line["outcome"] for line in relay.log("press_answered")] == ["signalled"]


async def test_press_while_restarting(scene: Scene, tmp_path: Path) -> None:
    """In time it counts; too late, Discord has told the presser that it failed, and it has no effect."""
    scene.api.answers.append(build_answer("signalled"))
    async with scene.relay(tmp_path) as relay:
        await relay.wait_ready()
        relay.terminate()
        await relay.wait()
    late = await scene.press()
    scene.now += 3.5
    in_time = await scene.press()
    async with scene.relay(tmp_path) as relay:
        assert await scene.answer_to(in_time) == SIGNALLED
        await relay.wait_for_log("press_too_late")
        relay.terminate()
        assert await relay.wait() == 0
    assert late.shown == FAILED
    assert scene.api.requests == 1
