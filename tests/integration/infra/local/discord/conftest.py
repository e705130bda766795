"""Connects the real discord.py to the stand-in."""

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import discord
import pytest
import yarl
from discord import utils
from discord.gateway import DiscordWebSocket
from discord.http import Route

from infra.local.discord import Guild, StandIn
from infra.local.discord.notifier import Notifier

TIMEOUT_S = 20.0


class Watcher(discord.AutoShardedClient):
    """discord.py's own client, which also records every dispatch in frame order."""

    def __init__(self, intents: discord.Intents) -> None:
        super().__init__(intents=intents, max_messages=None, chunk_guilds_at_startup=False)
        self.frames: list[tuple[str, Any]] = []
        self.notifier = Notifier()
        parsers = self._connection.parsers
        for event, parse in list(parsers.items()):
            parsers[event] = self._watch(event, parse)

    def _watch(self, event: str, parse: Callable[[Any], Any]) -> Callable[[Any], None]:
        def watched(data: Any) -> None:
            self.frames.append((event, data))
            self.notifier.notify()
            parse(data)

        return watched

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Skip discord.py's pause of five seconds, which the stand-in does not require."""

    def seen(self, event: str) -> list[Any]:
        return [data for name, data in self.frames if name == event]

    async def wait_seen(self, event: str, times: int = 1) -> list[Any]:
        await self.notifier.wait_for(
            lambda: len(self.seen(event)) >= times, TIMEOUT_S, f"{times} times {event}"
        )
        return self.seen(event)


@pytest.fixture
async def standin() -> AsyncIterator[StandIn]:
    async with StandIn(token="right") as standin:
        yield standin


@pytest.fixture
def guild(standin: StandIn) -> Guild:
    return standin.world.add_guild("Base")


Connect = Callable[..., AbstractAsyncContextManager[Watcher]]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Connect a client to a stand-in, and yield it once it has received everything."""

    @contextlib.asynccontextmanager
    async def connected(
        standin: StandIn, *, intents: discord.Intents | None = None
    ) -> AsyncIterator[Watcher]:
        monkeypatch.setattr(Route, "BASE", standin.api_url)
        # After op 9 discord.py starts over at its default gateway.
        monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(standin.gateway_url))
        client = Watcher(intents or discord.Intents(guilds=True, voice_states=True))
        running = asyncio.create_task(client.start(standin.token))
        try:
            waiting = asyncio.create_task(standin.wait_connected(TIMEOUT_S))
            await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                waiting.cancel()
                running.result()
            await waiting
            await client.notifier.wait_for(
                lambda: len(client.seen("GUILD_CREATE")) >= len(standin.world.guilds), TIMEOUT_S, "all guilds"
            )
            yield client
        finally:
            await client.close()
            await asyncio.gather(running, return_exceptions=True)

    return connected


@pytest.fixture(params=["zlib-stream", "zstd-stream"])
def compression(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make discord.py choose one transport compression; it prefers zstd."""
    if request.param != utils._ActiveDecompressionContext.COMPRESSION_TYPE:
        monkeypatch.setattr(utils, "_ActiveDecompressionContext", _ZlibContext)
    return str(request.param)


class _ZlibContext:
    """discord.py's own fallback, which it defines only if zstd is missing."""

    COMPRESSION_TYPE = "zlib-stream"

    def __init__(self) -> None:
        self._context = zlib.decompressobj()
        self._buffer = bytearray()

    def decompress(self, data: bytes, /) -> str | None:
        self._buffer += data
        if not data.endswith(b"\x00\x00\xff\xff"):
            return None
        message = self._context.decompress(bytes(self._buffer))
        self._buffer.clear()
        return message.decode()
