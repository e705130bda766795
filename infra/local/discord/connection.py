"""One WebSocket connection of a gateway client: the transport of a session.

A task of the connection writes dispatches from a queue, so their order does not depend on the callers.
Replies and faults bypass the queue. Both compress and write without awaiting in between, because the
compression context and the socket must see the same order.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from infra.local.discord.compression import Compress
from infra.local.discord.session import Frame

# Operations wait while more frames are queued than the high mark, until the low mark is reached.
_QUEUE_HIGH = 512
_QUEUE_LOW = 128
# Frames between two yields to other tasks of the event loop.
_YIELD_EVERY = 64


class Connection:
    def __init__(
        self,
        ws: web.WebSocketResponse,
        transport: asyncio.Transport,
        compress: Compress | None,
        on_idle: Callable[[], None],
    ) -> None:
        self.closed_here = False
        self._ws = ws
        self._transport = transport
        self._compress = compress
        self._kind = WSMsgType.TEXT if compress is None else WSMsgType.BINARY
        self._on_idle = on_idle
        self._queue: deque[Frame] = deque()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._dead = False
        self._operations = 0
        self._put = self._write
        self._writer = asyncio.create_task(self._write_queue(), name="standin-gateway-writer")

    @property
    def idle(self) -> bool:
        return not self._queue

    def enqueue(self, frame: Frame) -> None:
        self._queue.append(frame)
        self._wake.set()
        if len(self._queue) >= _QUEUE_HIGH and not self._dead:
            self._room.clear()

    async def wait_for_room(self) -> None:
        if not self._room.is_set():
            await self._room.wait()
            return
        self._operations += 1
        if self._operations % _YIELD_EVERY == 0:
            await asyncio.sleep(0)

    async def send(self, op: int, data: Any = None) -> None:
        """Write a frame that is not a dispatch, ahead of the queue."""
        await self._write(orjson.dumps({"t": None, "s": None, "op": op, "d": data}))

    async def send_garbage(self) -> None:
        """Write a message that is neither compressed nor JSON."""
        await self._ws.send_frame(b"garbage\x00\x00\xff\xff", self._kind)

    async def send_raw(self, message: bytes) -> None:
        """Write a whole message, compressed as any other, whatever it says."""
        await self._write(message)

    async def _write(self, message: bytes) -> None:
        compress = self._compress
        await self._ws.send_frame(message if compress is None else compress(message), self._kind)

    async def _write_queue(self) -> None:
        queue = self._queue
        written = 0
        try:
            while True:
                while queue:
                    seq, event, data = queue.popleft()
                    await self._put(b'{"t":"%b","s":%d,"op":0,"d":%b}' % (event.encode(), seq, data))
                    written += 1
                    if written % _YIELD_EVERY == 0:
                        await asyncio.sleep(0)
                    if len(queue) <= _QUEUE_LOW:
                        self._room.set()
                self._wake.clear()
                self._on_idle()
                await self._wake.wait()
        except ConnectionError:
            pass  # The connection's reader notices too and detaches it from its session.
        finally:
            self._dead = True
            self._room.set()

    async def close(self, code: int, reason: str = "") -> None:
        """Close the WebSocket from this side."""
        self.closed_here = True
        await self._ws.close(code=code, message=reason.encode())

    def abort(self, *, reset: bool = False) -> None:
        """Drop the TCP connection without a close frame; *reset* sends RST instead of FIN."""
        self.closed_here = True
        raw = self._transport.get_extra_info("socket")
        if reset and raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def cut_next(self) -> None:
        """Disconnect in the middle of the next dispatch."""
        self._put = self._write_half

    async def _write_half(self, message: bytes) -> None:
        self.closed_here = True
        payload = message if self._compress is None else self._compress(message)
        # https://www.rfc-editor.org/rfc/rfc6455#section-5.2: a whole message, unmasked, 64-bit length
        header = struct.pack("!BBQ", 0x80 | self._kind, 127, len(payload))
        self._transport.write(header + payload[: len(payload) // 2])
        self._transport.close()
        raise ConnectionResetError("cut on purpose")

    async def stop(self) -> None:
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)
