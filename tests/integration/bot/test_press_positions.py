"""A press in flight keeps the session's position on disk where it is, so that a RESUME replays the press."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bot.outbox.work import Advanced
from bot.relay import Relay
from infra.local.discord import StandIn
from tests.support.ingress import StubIngress
from tests.support.presses import CARD, build_answer
from tests.support.relaying import relaying

TIMEOUT_S = 20.0


class Ticks:
    """Counts the relay's ticks, and keeps the positions that each had written down."""

    def __init__(self, relay: Relay) -> None:
        self.count = 0
        self.written: list[int] = []
        self._changed = asyncio.Event()
        put, tick = relay._outbox.put, relay._outbox.tick

        def put_and_note(item: Any) -> None:
            if isinstance(item, Advanced):
                self.written += [position.seq for position in item.positions.values() if position]
            put(item)

        def tick_and_count(watched: Any) -> None:
            self.count += 1
            self._changed.set()
            tick(watched)

        relay._outbox.put = put_and_note  # type: ignore[method-assign]
        relay._outbox.tick = tick_and_count  # type: ignore[method-assign]

    async def wait(self, more: int) -> None:
        until = self.count + more
        async with asyncio.timeout(TIMEOUT_S):
            while self.count < until:
                self._changed.clear()
                await self._changed.wait()


async def test_position_waits_for_presses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.relay._WATCH_TICK_S", 0.01)
    async with StandIn() as standin, StubIngress() as api:
        guild = standin.world.add_guild("Base")
        tom, staff = guild.add_member("tom"), guild.add_text_channel("staff")
        card = standin.chat.say(standin.world.bot, staff, CARD)
        go_on = asyncio.Event()
        api.answers.append(build_answer("signalled", after=go_on.wait))
        async with relaying(tmp_path, standin, api.endpoint) as relay:
            ticks = Ticks(relay)
            await ticks.wait(2)
            press = await standin.press(tom, card, "Admit")
            async with asyncio.timeout(TIMEOUT_S):
                while not api.requests:
                    api.changed.clear()
                    await api.changed.wait()
            before = max(ticks.written)
            await ticks.wait(5)
            during = max(ticks.written)
            go_on.set()
            await standin.interactions.wait_answered(press, TIMEOUT_S)
            while relay._interactions.in_flight:
                await ticks.wait(1)
            await ticks.wait(2)
            assert (during, max(ticks.written)) == (before, before + 1)
