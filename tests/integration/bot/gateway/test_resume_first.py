"""A start while Discord's REST API is away: sessions live for minutes only, and need the gateway alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from aiohttp import web

from bot.outbox.session import Position, Session
from infra.local.discord import Guild, StandIn
from tests.integration.bot.gateway.watcher import TIMEOUT_S, TOKEN, Watcher, serving, until, watching

pytestmark = pytest.mark.usefixtures("short_waits")


async def leave_session(standin: StandIn) -> dict[int, Position]:
    """Watch for a moment, and return what the next process finds on disk."""
    async with watching(standin) as watcher:
        return watcher.gateway.positions()


@asynccontextmanager
async def starting(api_url: str, positions: dict[int, Position], **options: Any) -> AsyncIterator[Watcher]:
    watcher = Watcher(api_url=api_url, positions=positions, **options)
    watcher.task = task = asyncio.create_task(watcher.gateway.run(TOKEN))
    try:
        yield watcher
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_resumes_while_api_is_down(standin: StandIn, guild: Guild) -> None:
    positions = await leave_session(standin)
    standin.faults.fail_rest(1000)
    with structlog.testing.capture_logs() as lines:
        async with starting(standin.api_url, positions) as watcher:
            await standin.wait_connected(TIMEOUT_S)
            await until(lambda: not watcher.gateway.not_ready())
    assert (standin.counts["resumed"], standin.counts["identified"]) == (1, 1)
    assert standin.counts["/users/@me"] == 2, "one by each process: it is not asked again"
    (line,) = [line for line in lines if line["event"] == "gateway_failed"]
    assert (line["reason"], line["next"]) == ("Discord answers with 503", "RESUME")


async def test_resumes_while_api_is_silent(
    standin: StandIn, guild: Guild, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes connections, and never answers."""
    monkeypatch.setattr("bot.gateway.client._RESUME_WITHIN_S", 0.05)
    positions = await leave_session(standin)

    async def hang(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async with serving(hang) as url, starting(url, positions) as watcher:
        await standin.wait_connected(TIMEOUT_S)
        await until(lambda: not watcher.gateway.not_ready())
    assert standin.counts["resumed"] == 1


async def test_identifies_once_api_is_back(standin: StandIn, guild: Guild) -> None:
    """The session is gone, and for the next one the API has to be asked."""
    positions = await leave_session(standin)
    await standin.faults.expire_sessions()
    standin.faults.fail_rest(4)
    with structlog.testing.capture_logs() as lines:
        async with starting(standin.api_url, positions) as watcher:
            await until(lambda: not watcher.gateway.not_ready())
            assert watcher.gateway.positions()[0].session.bot_id == standin.world.bot.id
    reasons = [line["reason"] for line in lines if line["event"] == "shard_disconnected"]
    assert reasons == ["Discord says that there is no such session (op 9)", *["Discord answers with 503"] * 3]
    assert standin.counts["identified"] == 2


async def test_session_of_another_bot_is_refused(standin: StandIn, guild: Guild) -> None:
    """Discord tells while its API cannot, and READY says whose the token is."""
    await leave_session(standin)
    other = Position(Session(0, 1, "5", "of-another-bot", standin.gateway_url), 7)
    standin.faults.fail_rest(1)
    async with starting(standin.api_url, {0: other}) as watcher:
        await until(lambda: not watcher.gateway.not_ready())
        assert watcher.gateway.positions()[0].session.bot_id == standin.world.bot.id


@pytest.mark.parametrize(
    "options", [{"shard_count": 2, "shard_ids": (0,)}, {"shard_count": 1, "shard_ids": (1,)}]
)
async def test_other_shards_wait_for_api(standin: StandIn, guild: Guild, options: dict[str, Any]) -> None:
    """Sessions of other shards than these are of no use."""
    positions = await leave_session(standin)
    standin.faults.fail_rest(1000)
    async with starting(standin.api_url, positions, **options) as watcher:
        await until(lambda: standin.counts["/users/@me"] > 3)
        (reason,) = watcher.gateway.not_ready()
    assert reason == "not connected to Discord yet: Discord answers with 503"
    assert standin.counts.get("resumed", 0) == 0


async def test_foreign_session_is_not_resumed(standin: StandIn, guild: Guild) -> None:
    """The token goes to Discord alone, even while its API does not say where the gateway is."""
    (position,) = (await leave_session(standin)).values()
    foreign = position._replace(session=position.session._replace(resume_url="wss://relay.invalid"))
    standin.faults.fail_rest(1)
    with structlog.testing.capture_logs() as lines:
        async with starting(standin.api_url, {0: foreign}) as watcher:
            await until(lambda: not watcher.gateway.not_ready())
    assert [line["event"] for line in lines if line["event"].startswith("session_")] == [
        "session_not_resumed"
    ]
    assert not [line for line in lines if line["event"] == "shard_disconnected"]
    assert standin.counts["identified"] == 2
