"""Sessions of the gateway through every failure of a connection: given up only when gone."""

import asyncio
from typing import Any

import pytest
import structlog
from discord.gateway import ReconnectWebSocket

from bot.backoff import backoff_s
from bot.gateway.rest import Limits
from bot.gateway.session_starts import SessionStarts
from bot.gateway.shard import CAP_S, REFUSED_CAP_S
from bot.outbox.session import Position, Session
from infra.local.discord import Guild, StandIn
from tests.integration.bot.gateway.watcher import (
    SHORT_S,
    TIMEOUT_S,
    TOKEN,
    Watcher,
    first_failures,
    join,
    until,
    watching,
)
from tests.support.shards import make_shard

pytestmark = pytest.mark.usefixtures("short_waits")


async def test_unreadable_frame_keeps_session(standin: StandIn, guild: Guild) -> None:
    async with watching(standin) as watcher:
        await standin.faults.garble()
        await standin.wait_until(lambda: standin.counts.get("resumed", 0) == 1, TIMEOUT_S)
        await join(guild, "a")
        await watcher.wait_for(1)
    assert watcher.kinds() == ["joined"]
    assert standin.counts["identified"] == 1


async def test_silent_server_keeps_session(
    standin: StandIn, guild: Guild, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It accepts connections and says nothing, not even HELLO."""
    monkeypatch.setattr("bot.gateway.shard._ANSWER_S", 0.1)
    async with watching(standin) as watcher:
        standin.faults.mute_connections(3)
        await standin.faults.drop()
        await join(guild, "a")
        await watcher.wait_for(1)
    assert watcher.kinds() == ["joined"]
    assert standin.counts["identified"] == 1


async def test_failing_shard_delays_no_other() -> None:
    """One shard's connection hangs for a minute; the other resumes at once."""
    async with StandIn(token=TOKEN, shards=2) as standin:
        guilds = [standin.world.add_guild(f"g{number}") for number in range(4)]
        healthy = next(guild for guild in guilds if (int(guild.id) >> 22) % 2 == 1)
        async with watching(standin) as watcher:
            standin.faults.mute_connections(1)
            await standin.faults.drop(shard=0)
            await standin.wait_until(lambda: standin.counts["connected"] == 3, TIMEOUT_S)
            await standin.faults.drop(shard=1)
            await join(healthy, "a")
            await watcher.wait_for(1)
            assert watcher.gateway.connected_shards == 1
            (reason,) = watcher.gateway.not_ready()
            assert reason.startswith("not connected to Discord: shard 0: ")


async def test_dead_resume_address_is_left(standin: StandIn, guild: Guild, closed_port: int) -> None:
    """The session's own address refuses; the gateway's general one resumes the session."""
    async with watching(standin):
        pass
    (session,) = standin._sessions
    dead = Session(0, 1, standin.world.bot.id, session.id, f"ws://127.0.0.1:{closed_port}/gateway")
    watcher = Watcher(api_url=standin.api_url, positions={0: Position(dead, session.seq)})
    task = asyncio.create_task(watcher.gateway.run(TOKEN))
    await standin.wait_connected(TIMEOUT_S)
    task.cancel()
    await asyncio.wait([task])
    assert (standin.counts["identified"], standin.counts["resumed"]) == (1, 1)


async def test_close_keeps_session(standin: StandIn, guild: Guild) -> None:
    """1000 and 1001 would end it."""
    async with watching(standin):
        (session,) = standin._sessions
        websocket: Any = session.wire
        ended = websocket._ws
    await standin.wait_disconnected(TIMEOUT_S)
    assert ended.close_code == 4000
    assert standin._sessions.find(session.id) is session


@pytest.mark.parametrize("other", [{"bot_id": "5"}, {"shard_count": 2}, {"shard_id": 1}])
async def test_foreign_session_is_not_resumed(standin: StandIn, guild: Guild, other: dict[str, Any]) -> None:
    """Of another bot, of another number of shards, of a shard that another process has."""
    async with watching(standin):
        pass
    (session,) = standin._sessions
    stored = Session(0, 1, standin.world.bot.id, session.id, standin.gateway_url)._replace(**other)
    async with watching(standin, positions={stored.shard_id: Position(stored, session.seq)}) as watcher:
        assert watcher.advanced[0] == {stored.shard_id: None}
    assert (standin.counts["identified"], standin.counts.get("resumed", 0)) == (2, 0)


@pytest.mark.parametrize("code", [9, 4000, 4003])
async def test_refused_identifies_stay_in_budget(code: int) -> None:
    """The server keeps refusing: one line each, never more than the day allows, and it says why."""
    async with StandIn(token=TOKEN, session_starts=5) as standin:
        standin.faults.refuse_identify(100, code)
        watcher = Watcher(api_url=standin.api_url)
        with structlog.testing.capture_logs() as lines:
            task = asyncio.create_task(watcher.gateway.run(TOKEN))
            await until(lambda: any(line["event"] == "identify_postponed" for line in lines))
            (reason,) = watcher.gateway.not_ready()
            task.cancel()
            await asyncio.wait([task])
        assert standin.counts["identify"] == 5
        assert "no more IDENTIFYs" in reason
        refused = [line for line in lines if line["event"] == "shard_disconnected"]
        assert len(refused) == 5
        assert {line["next"] for line in refused} == {"IDENTIFY"}


async def test_uses_last_identify_of_day() -> None:
    """What was set aside for a shard that is connected now is not missing to another."""
    async with StandIn(token=TOKEN, shards=2, session_starts=3) as standin:
        for number in range(4):
            standin.world.add_guild(f"g{number}")
        async with watching(standin) as watcher:
            await standin.faults.expire_sessions(shard=1)
            await standin.faults.drop(shard=1)
            await watcher.wait(lambda: "gap" in watcher.kinds())
        assert standin.counts["identify"] == 3


async def test_waiting_shards_ask_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wait for what is set aside, the limits are asked for at one shard's pace."""
    monkeypatch.setattr("bot.gateway.session_starts._SETTLED_S", SHORT_S)
    asked = 0

    async def ask() -> Limits:
        nonlocal asked
        asked += 1
        return Limits("wss://x", shards=20, remaining=1, reset_after_s=1.0, max_concurrency=1)

    starts = SessionStarts(ask)
    shards = [asyncio.create_task(starts.allow(shard_id, str)) for shard_id in range(20)]
    await until(lambda: asked >= 10)
    assert sum(shard.done() for shard in shards) == 1
    began, passed_s = asked, 20 * SHORT_S
    await asyncio.sleep(passed_s)
    assert asked - began <= passed_s / SHORT_S
    for shard in shards:
        shard.cancel()
    await asyncio.wait(shards)


async def test_shards_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than max_concurrency IDENTIFY within the window; the stand-in refuses what comes too soon."""
    monkeypatch.setattr("bot.gateway.session_starts.WINDOW_S", 0.3)
    async with (
        StandIn(token=TOKEN, shards=6, max_concurrency=2, identify_window_s=0.25) as standin,
        watching(standin),
    ):
        assert (standin.counts["identify"], standin.counts["identified"]) == (6, 6)


def test_backoff_is_capped_and_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.backoff.BASE_S", 0.5)
    shard = make_shard(Position(Session(0, 1, "1", "s", "ws://x"), 7))
    waits = [shard._end(OSError("refused")) for _ in range(200)]
    assert max(waits[20:]) > CAP_S / 2
    assert max(waits) <= CAP_S
    assert shard.position is not None, "a refused connection does not end the session"
    shard.build_parsers()["RESUMED"]({})
    assert shard._end(OSError("refused")) <= 0.5


def test_refused_identifies_come_ever_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day of them is a fraction of the budget."""
    monkeypatch.setattr("bot.gateway.shard.REFUSED_S", 5.0)
    shard = make_shard()
    asked, passed_s = 0, 0.0
    while passed_s < 24 * 3600:
        shard._identified = True
        wait_s = shard._end(OSError("closed"))
        assert wait_s <= REFUSED_CAP_S
        asked, passed_s = asked + 1, passed_s + wait_s
    assert 96 < asked < 250


def test_short_sessions_come_ever_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Discord says READY, and op 9 right after; once a session lasts, all is forgotten."""
    monkeypatch.setattr("bot.gateway.shard.REFUSED_S", 5.0)
    shard = make_shard()
    ready = shard.build_parsers()["READY"]
    asked, passed_s = 0, 0.0
    while passed_s < 24 * 3600:
        shard._identified = True
        ready({"session_id": "s", "resume_gateway_url": "wss://x"})
        passed_s += shard._end(ReconnectWebSocket(0, resume=False))
        asked += 1
    assert 96 < asked < 250
    ready({"session_id": "s", "resume_gateway_url": "wss://x"})
    monkeypatch.setattr(shard, "_clock", lambda: 3_600_000)
    assert shard._end(ReconnectWebSocket(0, resume=False)) <= SHORT_S


def test_backoff_takes_a_cap() -> None:
    assert backoff_s(99, cap_s=30.0, random=lambda: 1.0) == 30.0


async def test_failing_api_delays_identify(standin: StandIn, guild: Guild) -> None:
    """The limits are asked for before each IDENTIFY; until they are known, none is sent."""
    with structlog.testing.capture_logs() as lines:
        async with watching(standin) as watcher:
            standin.faults.fail_rest(3)
            await standin.faults.expire_sessions()
            await standin.faults.drop()
            await watcher.wait(lambda: "gap" in watcher.kinds())
    reasons = [line["reason"] for line in lines if line["event"] == "shard_disconnected"]
    assert reasons.count("Discord answers with 503") == 3
    assert standin.counts["identify"] == 2


async def test_unreachable_gateway_is_one_line_each(standin: StandIn) -> None:
    """The API is there, the gateway is not: every attempt is a short line."""
    await standin.faults.refuse_connections()
    lines, reason = await first_failures(standin.api_url, 9)
    failures = [line for line in lines if line["event"] == "shard_disconnected"]
    assert len(failures) >= 8
    assert all(len(str(line)) < 400 for line in failures)
    assert "Discord cannot be reached" in reason
    assert standin.counts.get("identify", 0) == 0
