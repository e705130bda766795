"""discord.py's WebSocket, opened for one shard, without the client around it and its cache.

Frames are read here: inflated within a bound, checked, and dispatches handed to their parsers. What is left
to discord.py is the connection itself: the handshake, heartbeats, and what the few other frames ask for.

discord.py guards the wait for each message with a timer, which costs as much as reading the message. In a
burst the next one is there already. So only the first is awaited under the timer; those behind it are read
from aiohttp's buffer.
"""

# Uses private names of discord.py 2.7 and aiohttp 3.14. Tests fail if one of them changes: they count the
# timers of a burst, and every test of the gateway opens its connections through ``Host``.

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import discord
import orjson
import structlog
from discord.gateway import DiscordWebSocket
from discord.utils import _ActiveDecompressionContext
from yarl import URL

from bot.gateway.frames import (
    DISPATCH,
    HELLO,
    KNOWN_OPS,
    BadFrameError,
    parse_control,
    parse_dispatch,
    parse_frame,
)
from bot.gateway.inflate import STREAMS
from bot.gateway.rest import Rest
from bot.outbox.session import Position
from bot.voice.payloads import Payload

Parser = Callable[[Payload], object]

_BROKEN_RULES = (aiohttp.WSCloseCode.PROTOCOL_ERROR, aiohttp.WSCloseCode.INVALID_TEXT)

log = structlog.get_logger(__name__)


class DrainingWebSocket(DiscordWebSocket):
    """Takes frames to the parsers that its ``Host`` has, in order; raises BadFrameError.

    ``greeted``: HELLO has come, upon which IDENTIFY or RESUME is sent.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(socket, loop=loop)
        self._inflate = STREAMS[_ActiveDecompressionContext.COMPRESSION_TYPE]()
        self.greeted = False
        self._unknown_ops = False

    async def poll_event(self) -> None:
        await super().poll_event()
        reader = self.socket._reader
        while reader._buffer:
            if reader._buffer[0][0].type is aiohttp.WSMsgType.BINARY:
                message: Any = await reader.read()
                control = self._read(message.data)
                if control is not None:
                    await self._obey(control)
            else:
                await self._poll_untimed()

    async def _poll_untimed(self) -> None:
        timeout_s = self._max_heartbeat_timeout
        # None means no timer: what is in the buffer is not waited for.
        self._max_heartbeat_timeout = None  # type: ignore[assignment]
        try:
            await super().poll_event()
        finally:
            self._max_heartbeat_timeout = timeout_s

    async def received_message(self, msg: bytes | str, /) -> None:
        control = self._read(msg)
        if control is not None:
            await self._obey(control)

    def _read(self, message: bytes | str) -> dict[str, Any] | None:
        """Take a message, if it is a dispatch or only a part of a frame; return any other frame."""
        data = self._inflate(message) if isinstance(message, bytes) else message.encode()
        if data is None:
            return None
        frame = parse_frame(data)
        if frame["op"] == DISPATCH:
            self._take(frame)
            return None
        return frame

    async def _obey(self, control: dict[str, Any]) -> None:
        op = control["op"]
        if op in KNOWN_OPS:
            if op == HELLO:
                self._greet()
            await super().received_message(orjson.dumps(parse_control(control)).decode())
        elif not self._unknown_ops:
            self._unknown_ops = True
            log.warning("op_skipped", shard_id=self.shard_id, op=op, reason="not known to this voice-relay")

    def _greet(self) -> None:
        if self.greeted:
            raise BadFrameError("a second HELLO")
        self.greeted = True

    def _take(self, frame: dict[str, Any]) -> None:
        event, seq = parse_dispatch(frame)
        if self._keep_alive is None:
            raise BadFrameError("a dispatch before HELLO")
        self._keep_alive.tick()
        take = self._discord_parsers.get(event)
        before, self.sequence = self.sequence, seq
        if take is None:
            return
        data = frame.get("d")
        try:
            if type(data) is not dict:
                raise BadFrameError(f"{event} without an object")
            take(data)
        except BadFrameError:
            # It has not been taken in.
            self.sequence = before
            raise

    @property
    def silence_s(self) -> float | None:
        """How long nothing has been heard; ``None`` before the first frame."""
        return None if self._keep_alive is None else time.perf_counter() - self._keep_alive._last_recv

    @property
    def closed_here(self) -> bool:
        """Whether discord.py closed the connection: op 7 and 9 ask for that."""
        return self._close_code is not None

    @property
    def broken_rule(self) -> str | None:
        """What the server did that no WebSocket may do, if that ended the connection."""
        code = self.socket.close_code
        if code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
            return "a message that is too large"
        return "a message that is no WebSocket's" if code in _BROKEN_RULES else None

    def stop_heartbeats(self) -> None:
        if self._keep_alive is not None:
            self._keep_alive.stop()


class Host:
    """What ``DiscordWebSocket`` asks of a client and of that client's state, for one shard.

    *identify* is awaited before each IDENTIFY. ``websocket`` is there from the moment that it is connected.
    """

    heartbeat_timeout = 60.0
    _activity = _status = None
    _enable_debug_events = False

    def __init__(
        self,
        http: Rest,
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
