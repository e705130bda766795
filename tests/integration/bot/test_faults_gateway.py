"""Faults of Discord's gateway, and an exact account of what is reported in spite of them."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bot.clock import format_ms
from bot.gateway.intake import Intake
from bot.gateway.rest import Limits
from bot.gateway.session_starts import SessionStarts
from bot.gateway.shard import Shard
from bot.outbox.work import Advanced, Captured, Released
from bot.routing.rules import Rule, Rules
from bot.ulid import UlidFactory
from bot.voice.events import EVENT, Event
from bot.voice.tracker import Tracker
from infra.local.audit import Audit
from infra.local.discord import Guild, StandIn
from tests.support.crowd import EVERYTHING, Lives, add_guilds, check_told, join_last, wander, wander_all
from tests.support.ledger import Ledger
from tests.support.relaying import relaying

TIMES = 3
STEPS = 40


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds pass before an IDENTIFY, and between attempts to connect."""
    monkeypatch.setattr("bot.gateway.session_starts.WINDOW_S", 0.0)
    monkeypatch.setattr("bot.gateway.shard.INVALIDATED_S", (0.0, 0.01))
    monkeypatch.setattr("bot.gateway.shard.REFUSED_S", 0.01)
    monkeypatch.setattr("bot.backoff.BASE_S", 0.01)


@pytest.fixture
async def standin() -> AsyncIterator[StandIn]:
    async with StandIn() as standin:
        yield standin


async def account_for(
    standin: StandIn, directory: Path, fault: Callable[[list[Guild]], Awaitable[object]]
) -> Audit:
    """Cause *fault* several times while people move, and return the account of what was reported."""
    dice, lives = random.Random(21), Lives()
    guilds = add_guilds(standin, 3)
    (directory / "rules.toml").write_text(EVERYTHING)
    async with Ledger() as api:
        async with relaying(directory, standin, api.endpoint, rules_file=directory / "rules.toml"):
            async with lives.another():
                await join_last(guilds, api)
            for _ in range(TIMES):
                async with lives.another():
                    wanted = api.event_count + dice.randrange(STEPS)
                    walking = asyncio.create_task(wander_all(guilds, STEPS, dice))
                    await api.wait_until(lambda wanted=wanted: api.event_count >= wanted)  # type: ignore[misc]
                    await fault(guilds)
                    await walking
                    await join_last(guilds, api)
        found = check_told(standin, api, lives)
    assert found.seen + found.missed == len(standin.sent)
    return found


async def _fail_upgrades(standin: StandIn) -> None:
    standin.faults.fail_upgrades(3)
    await standin.faults.drop()


async def _refuse_connections(standin: StandIn) -> None:
    await standin.faults.refuse_connections()
    await standin.faults.drop()
    await asyncio.sleep(0.2)
    await standin.faults.accept_connections()


RESUMED: dict[str, Callable[[StandIn], Awaitable[object]]] = {
    "op 7": lambda standin: standin.faults.reconnect(),
    "op 9, may resume": lambda standin: standin.faults.invalidate(resumable=True),
    "hang-up": lambda standin: standin.faults.drop(),
    "reset": lambda standin: standin.faults.drop(reset=True),
    "frame cut in the middle": lambda standin: standin.faults.cut_frame(),
    "503 at the upgrade": _fail_upgrades,
    "connections refused": _refuse_connections,
    **{
        f"close {code}": lambda standin, code=code: standin.faults.close(code)  # type: ignore[misc]
        for code in (1001, 4000, 4001, 4002, 4003, 4005, 4008)
    },
}


@pytest.mark.parametrize("fault", RESUMED)
async def test_resumed_session_leaves_no_gap(standin: StandIn, tmp_path: Path, fault: str) -> None:
    found = await account_for(standin, tmp_path, lambda _: RESUMED[fault](standin))
    assert (found.missed, found.inferred, found.gaps) == (0, 0, 0)
    assert standin.counts["resumed"] >= 1
    assert standin.counts["identified"] == 1


async def _expire(standin: StandIn) -> None:
    await standin.faults.expire_sessions()
    await standin.faults.drop()


LOST: dict[str, Callable[[StandIn], Awaitable[object]]] = {
    "op 9, may not resume": lambda standin: standin.faults.invalidate(resumable=False),
    "close 4007": lambda standin: standin.faults.close(4007),
    "close 4009": lambda standin: standin.faults.close(4009),
    "expired": _expire,
}


@pytest.mark.parametrize("fault", LOST)
async def test_lost_session_declares_gap(standin: StandIn, tmp_path: Path, fault: str) -> None:
    found = await account_for(standin, tmp_path, lambda _: LOST[fault](standin))
    assert found.gaps == TIMES * 3
    assert found.reasons == {"session_lost"}
    assert standin.counts["identified"] == TIMES + 1


async def test_unavailable_guild_declares_its_own_gap(standin: StandIn, tmp_path: Path) -> None:
    async def outage(guilds: list[Guild]) -> None:
        await guilds[0].begin_outage()
        await wander(guilds[0], 20, random.Random(4))
        await guilds[0].end_outage()

    found = await account_for(standin, tmp_path, outage)
    assert found.gaps == TIMES
    assert found.missed >= 20
    assert found.reasons == {"guild_unavailable"}


class Wire:
    """Calls the gateway's own functions as discord.py does, at a time that the test sets."""

    def __init__(self) -> None:
        self.now_ms = 1_795_259_000_000
        self.events: list[Event] = []
        intake = Intake(
            Tracker({}, UlidFactory()),
            Rules([Rule()]),
            self._put,
            clock=self.clock,
        )
        self.shard = Shard(
            0, 1, "1", intake, SessionStarts(self._ask), self._open_host, position=None, clock=self.clock
        )
        self.parsers = self.shard.build_parsers()

    def clock(self) -> int:
        return self.now_ms

    async def _ask(self) -> Limits:
        raise AssertionError("nothing connects here")

    def _open_host(self, shard: Shard) -> Any:
        return SimpleNamespace(websocket=None)

    def _put(self, item: Captured | Released | Advanced) -> None:
        if isinstance(item, Captured):
            self.events.extend(EVENT.validate_json(event.body) for event in item.events)

    def receive(self, name: str, payload: dict[str, Any], at_s: int) -> None:
        self.now_ms = 1_795_259_000_000 + at_s * 1000
        self.parsers[name](payload)

    def connect(self, at_s: int) -> None:
        ready = {"session_id": "s", "resume_gateway_url": "wss://x", "guilds": [{"id": "41771983423143937"}]}
        self.receive("READY", ready, at_s)
        self.receive("GUILD_CREATE", {"id": "41771983423143937", "name": "Base", "voice_states": []}, at_s)

    def join(self, user_id: str, at_s: int) -> None:
        state = {"guild_id": "41771983423143937", "user_id": user_id, "channel_id": "5"}
        self.receive("VOICE_STATE_UPDATE", state, at_s)

    async def disconnect(self) -> None:
        await self.shard._close()


@pytest.mark.parametrize("whole", [True, False])
async def test_gap_after_partial_replay(*, whole: bool) -> None:
    """Replayed frames are old, so until RESUMED the gap begins where the first connection ended."""
    wire = Wire()
    wire.connect(0)
    wire.join("1", 10)
    await wire.disconnect()
    wire.join("2", 60)
    if whole:
        wire.receive("RESUMED", {}, 61)
        wire.join("3", 62)
    await wire.disconnect()
    wire.connect(90)
    (gap,) = (event for event in wire.events if event["type"] == "discord.voice.gap")
    assert gap["data"]["from"] == format_ms(1_795_259_000_000 + (62 if whole else 10) * 1000)
