"""A door before an API on loopback: bytes go through as they are, or are broken off as a fault says."""

import asyncio
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, Self
from urllib.parse import urlsplit

Fault = Literal[
    "reset_before", "reset_during", "reset_after", "cut_answer", "swallow_request", "swallow_answer"
]
"""What becomes of a request:

reset_before      the connection that is to carry it is reset at once
reset_during      half of it goes through, then the connection is reset
reset_after       it goes through; instead of its answer comes a reset
cut_answer        it goes through; half of the answer comes, then the end of the connection
swallow_request   nothing goes through, and nothing comes
swallow_answer    it goes through; nothing comes
"""


class Door:
    """Listens on loopback while open. *next_fault* is asked for each request; ``None`` lets it through."""

    def __init__(self, upstream: str, next_fault: Callable[[], Fault | None]) -> None:
        split = urlsplit(upstream)
        self._upstream = (str(split.hostname), int(split.port or 80))
        self._next_fault = next_fault
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()
        self.done: Counter[Fault] = Counter()
        self.port = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)
        # A reset before the request is a matter of the connection; its fault is drawn before the others'.
        first = self._next_fault()
        if first == "reset_before":
            self.done[first] += 1
            _reset(writer)
            return
        inside, outside = await asyncio.open_connection(*self._upstream)
        passage = _Passage(writer, outside, self.done, deque([first]), self._next_fault)
        pumps = [
            asyncio.create_task(passage.carry_requests(reader)),
            asyncio.create_task(passage.carry_answers(inside)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            writer.close()
            outside.close()


class _Passage:
    """One connection and its continuation to the API; requests follow each other, one at a time."""

    def __init__(
        self,
        client: asyncio.StreamWriter,
        api: asyncio.StreamWriter,
        done: Counter[Fault],
        drawn: deque[Fault | None],
        next_fault: Callable[[], Fault | None],
    ) -> None:
        self._client, self._api = client, api
        self._done = done
        self._drawn = drawn
        self._next_fault = next_fault
        self._fault: Fault | None = None

    async def carry_requests(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 18):
                if data.startswith(b"POST "):
                    self._fault = self._drawn.popleft() if self._drawn else self._next_fault()
                    if self._fault is not None:
                        self._done[self._fault] += 1
                # A connection that is open already is reset as the request comes.
                if self._fault == "reset_before":
                    _reset(self._client)
                    return
                if self._fault == "reset_during":
                    self._api.write(data[: len(data) // 2])
                    await self._api.drain()
                    _reset(self._client)
                    return
                if self._fault != "swallow_request":
                    self._api.write(data)
                    await self._api.drain()

    async def carry_answers(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 18):
                if self._fault == "reset_after":
                    _reset(self._client)
                    return
                if self._fault == "cut_answer":
                    self._client.write(data[: len(data) // 2])
                    await self._client.drain()
                    return
                if self._fault != "swallow_answer":
                    self._client.write(data)
                    await self._client.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Send a RST where a FIN would be polite."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
