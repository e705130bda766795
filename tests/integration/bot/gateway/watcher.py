"""The front half of the relay, the real discord.py under it, for tests to watch."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from aiohttp import web

from bot.errors import RelayError
from bot.gateway.client import Gateway
from bot.gateway.intake import Intake
from bot.outbox.session import Position
from bot.outbox.work import Advanced, Captured, Released
from bot.routing.rules import Rule, Rules
from bot.ulid import UlidFactory
from bot.voice.events import EVENT, Event
from bot.voice.tracker import Tracker
from infra.local.discord import Guild, StandIn

SHORT_S = 0.01
TIMEOUT_S = 20.0
TOKEN = "a.b.c"


class Watcher:
    """The front half of the relay: gateway, tracker and rules, with a list for an outbox."""

    def __init__(self, **options: Any) -> None:
        self.events: list[Event] = []
        self.changed = asyncio.Event()
        self.advanced: list[Mapping[int, Position | None]] = []
        self.task: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.intake = Intake(Tracker({}, UlidFactory()), Rules([Rule()]), self._put)
        self.gateway = Gateway(self.intake, **options)

    async def wait(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def wait_for(self, count: int) -> list[Event]:
        await self.wait(lambda: len(self.events) >= count)
        return self.events

    def kinds(self) -> list[str]:
        return [event["type"].removeprefix("discord.voice.") for event in self.events]

    def _put(self, item: Captured | Released | Advanced) -> None:
        if isinstance(item, Captured):
            self.events.extend(EVENT.validate_json(event.body) for event in item.events)
        elif isinstance(item, Advanced):
            self.advanced.append(item.positions)
        self.changed.set()


@asynccontextmanager
async def watching(standin: StandIn, **options: Any) -> AsyncIterator[Watcher]:
    """Watch until the block ends; it begins with all shards connected and their guilds seen."""
    watcher = Watcher(api_url=standin.api_url, **options)
    watcher.task = task = asyncio.create_task(watcher.gateway.run(TOKEN))
    waiting = asyncio.create_task(_until_watched(standin, watcher))
    done, _ = await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    try:
        for one in done:
            one.result()
        yield watcher
    finally:
        for one in (waiting, task):
            one.cancel()
            with suppress(asyncio.CancelledError, RelayError):
                await one


async def _until_watched(standin: StandIn, watcher: Watcher) -> None:
    guilds = {guild.id for guild in standin.world.guilds.values() if guild.has_bot and guild.available}
    await standin.wait_connected(TIMEOUT_S)
    await watcher.wait(lambda: guilds <= watched(watcher))


def watched(watcher: Watcher) -> set[str]:
    tracker = watcher.intake._tracker
    return {guild_id for guild_id in tracker.guild_ids if tracker._guilds[guild_id].watched}


async def join(guild: Guild, name: str) -> None:
    channel = next(iter(guild.channels.values()), None) or guild.add_voice_channel("General")
    await guild.join(guild.add_member(name), channel)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            if condition():
                return
            await asyncio.sleep(SHORT_S)


@asynccontextmanager
async def serving(handler: Any) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{tail:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield "http://{}:{}/api/v10".format(*runner.addresses[0])
    finally:
        await runner.cleanup()


async def first_failures(url: str, count: int) -> tuple[list[dict[str, Any]], str]:
    """Return what is logged until *count* attempts have failed, and why the gateway is not ready then."""
    watcher = Watcher(api_url=url)
    with structlog.testing.capture_logs() as lines:
        task = asyncio.create_task(watcher.gateway.run(TOKEN))
        await until(lambda: len(lines) >= count)
        (reason,) = watcher.gateway.not_ready()
        task.cancel()
        await asyncio.wait([task])
    return [dict(line) for line in lines], reason
