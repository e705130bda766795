"""A proxy between the bot and an API: passes bytes through unchanged, or breaks the connection as told.

The bot signs for the proxy's own address. The signature covers the Host header as it is sent, which the
embedded AWS checks against itself, so nothing has to be rewritten on the way.
"""

import asyncio
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit, urlunsplit

from infra.local.discord.notifier import Notifier

_HOST = "127.0.0.1"
# A whole request, so that half of one can be told.
_CHUNK_BYTES = 256 * 1024
# https://www.rfc-editor.org/rfc/rfc9112#name-status-line
_STATUS_LINE, _SUCCESS = b"HTTP/1.1 ", b"HTTP/1.1 2"
_REQUEST = b"POST "

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

ChooseFault = Callable[[], Fault | None]


class FaultyProxy:
    """Leads to the API at *url*; listens on loopback from ``async with`` on, at ``url``.

    *choose_fault* is asked for each request; ``None`` lets it through, and ``faults`` counts the others.
    ``answers`` counts the responses that reached the caller, ``lost`` those that ``lose_next_answer`` kept
    from it, and ``refused`` the connections that an outage refused. ``answers_at_loss`` is what ``answers``
    was when the last one was lost.
    """

    def __init__(self, url: str, choose_fault: ChooseFault = lambda: None) -> None:
        self._parts = urlsplit(url)
        self._choose_fault = choose_fault
        self._notifier = Notifier()
        self._server: asyncio.Server | None = None
        self._callers: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._down = False
        self._lose_next = False
        self.answers = 0
        self.answers_at_loss = 0
        self.lost = 0
        self.refused = 0
        self.faults: Counter[Fault] = Counter()

    @property
    def url(self) -> str:
        if self._server is None:
            raise RuntimeError("the proxy is not listening")
        port = self._server.sockets[0].getsockname()[1]
        return urlunsplit(self._parts._replace(netloc=f"{_HOST}:{port}"))

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, _HOST, 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self._hang_up()
        await asyncio.gather(*self._callers, return_exceptions=True)

    def begin_outage(self) -> None:
        """Cut every connection, and every new one at once."""
        self._down = True
        self._hang_up()

    def end_outage(self) -> None:
        self._down = False

    def lose_next_answer(self) -> None:
        """Reset the connection instead of passing on the next response of success: the work was done."""
        self._lose_next = True

    async def wait_for_answers(self, count: int, timeout_s: float) -> None:
        """Wait until so many responses have reached the caller since the beginning."""
        await self._notifier.wait_for(lambda: self.answers >= count, timeout_s, "the API's answer")

    async def wait_for_loss(self, count: int, timeout_s: float) -> None:
        """Wait until so many responses have been lost since the beginning."""
        await self._notifier.wait_for(lambda: self.lost >= count, timeout_s, "an answer to lose")

    async def wait_for_refusals(self, count: int, timeout_s: float) -> None:
        """Wait until so many connections have been refused since the beginning."""
        await self._notifier.wait_for(lambda: self.refused >= count, timeout_s, "a connection to refuse")

    def choose_fault(self) -> Fault | None:
        """Ask what is to become of the next request, and count it."""
        fault = self._choose_fault()
        if fault is not None:
            self.faults[fault] += 1
        return fault

    def take_answer(self, data: bytes) -> bool:
        """Return whether the caller may have *data*, which the API answered with."""
        if self._lose_next and data.startswith(_SUCCESS):
            self._lose_next = False
            self.answers_at_loss = self.answers
            self.lost += 1
            self._notifier.notify()
            return False
        return True

    def count_answer(self, data: bytes) -> None:
        """Count *data*, which has gone to the caller, if a response begins with it."""
        if data.startswith(_STATUS_LINE):
            self.answers += 1
            self._notifier.notify()

    def _hang_up(self) -> None:
        for writer in self._callers.values():
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._down:
            writer.transport.abort()
            self.refused += 1
            self._notifier.notify()
            return
        task = asyncio.create_task(self._serve(reader, writer), name="faulty-proxy")
        self._callers[task] = writer
        task.add_done_callback(lambda done: self._callers.pop(done))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes both ways until either side is done, which ends the other."""
        # A reset before the request is a matter of the connection, so its first fault is chosen here.
        first = self.choose_fault()
        if first == "reset_before":
            _reset(writer)
            return
        try:
            from_api, to_api = await asyncio.open_connection(
                self._parts.hostname or _HOST, self._parts.port or 80
            )
        except OSError:
            writer.transport.abort()
            return
        passage = _Passage(self, writer, to_api, first)
        ways = [
            asyncio.create_task(passage.carry_requests(reader)),
            asyncio.create_task(passage.carry_answers(from_api)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.close()
            to_api.close()


class _Passage:
    """One connection and its continuation to the API; requests follow each other, one at a time."""

    def __init__(
        self,
        proxy: FaultyProxy,
        caller: asyncio.StreamWriter,
        api: asyncio.StreamWriter,
        first: Fault | None,
    ) -> None:
        self._proxy = proxy
        self._caller, self._api = caller, api
        self._chosen = deque([first])
        self._fault: Fault | None = None

    async def carry_requests(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(_CHUNK_BYTES):
                if data.startswith(_REQUEST):
                    self._fault = self._chosen.popleft() if self._chosen else self._proxy.choose_fault()
                # A connection that is open already is reset as the request comes.
                if self._fault == "reset_before":
                    _reset(self._caller)
                    return
                if self._fault == "reset_during":
                    await _send(self._api, data[: len(data) // 2])
                    _reset(self._caller)
                    return
                if self._fault != "swallow_request":
                    await _send(self._api, data)

    async def carry_answers(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(_CHUNK_BYTES):
                if self._fault == "reset_after" or not self._proxy.take_answer(data):
                    _reset(self._caller)
                    return
                if self._fault == "cut_answer":
                    await _send(self._caller, data[: len(data) // 2])
                    return
                if self._fault != "swallow_answer":
                    await _send(self._caller, data)
                    self._proxy.count_answer(data)


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Send a RST instead of a FIN."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
