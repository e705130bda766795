"""discord.py's WebSocket, opened for one shard, without the client around it and its cache.

discord.py guards the wait for each frame with a timer, which costs as much as reading the frame. In a burst
the next frame is there already. So only the first frame is awaited under the timer; those behind it are read
without one.
"""

# Uses private names of discord.py 2.7 and aiohttp 3.14. Tests fail if one of them changes: they count the
# timers of a burst, and every test of the gateway opens its connections through ``Host``.

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import discord
from discord.gateway import DiscordWebSocket
from discord.http import HTTPClient
from yarl import URL

from bot.outbox.session import Position
from bot.voice.payloads import Payload

Parser = Callable[[Payload], object]


class DrainingWebSocket(DiscordWebSocket):
    """Takes frames to the parsers that its ``Host`` has, in order."""

    async def poll_event(self) -> None:
        await super().poll_event()
        timeout_s = self._max_heartbeat_timeout
        # None means no timer: what is in the buffer is not waited for.
        self._max_heartbeat_timeout = None  # type: ignore[assignment]
        try:
            while self.socket._reader._buffer:
                await super().poll_event()
        finally:
            self._max_heartbeat_timeout = timeout_s

    @property
    def silence_s(self) -> float | None:
        """How long nothing has been heard; ``None`` before the first frame."""
        return None if self._keep_alive is None else time.perf_counter() - self._keep_alive._last_recv

    @property
    def closed_here(self) -> bool:
        """Whether discord.py closed the connection: op 7 and 9 ask for that."""
        return self._close_code is not None


class Host:
    """What ``DiscordWebSocket`` asks of a client and of that client's state, for one shard.

    *identify* is awaited before each IDENTIFY. ``websocket`` is there from the moment that it is connected.
    """

    heartbeat_timeout = 60.0
    _activity = _status = None
    _enable_debug_events = False

    def __init__(
        self,
        http: HTTPClient,
        shard_count: int,
        parsers: Mapping[str, Parser],
        identify: Callable[[], Awaitable[object]],
    ) -> None:
        self.http = http
        self.loop = asyncio.get_running_loop()
        self.shard_count = shard_count
        self.parsers = parsers
        self.websocket: DrainingWebSocket | None = None
        self._identify = identify
        self._intents = discord.Intents(guilds=True, voice_states=True)
        self._connection = self

    async def open(self, shard_id: int, url: str, position: Position | None) -> DrainingWebSocket:
        """Connect to *url* and RESUME at *position*, or IDENTIFY without one."""
        client: Any = self
        return await DrainingWebSocket.from_client(
            client,
            gateway=URL(url),
            shard_id=shard_id,
            session=None if position is None else position.session.session_id,
            sequence=None if position is None else position.seq,
            resume=position is not None,
        )

    def dispatch(self, _event: str, /, *_args: object) -> None:
        """Nothing listens to discord.py's own events."""

    async def call_hooks(self, _key: str, *_args: object, **_kwargs: object) -> None:
        """Wait for leave to IDENTIFY: discord.py has no other hook."""
        await self._identify()

    def _update_references(self, websocket: DrainingWebSocket) -> None:
        self.websocket = websocket
