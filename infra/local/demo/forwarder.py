"""What lies between the bot and the API: passes bytes through unchanged until it is told not to.

The bot signs for the forwarder's own address. The signature covers the Host header as it is sent, which the
embedded AWS checks against itself, so nothing has to be rewritten on the way.
"""

import asyncio
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from infra.local.discord.notifier import Notifier

_HOST = "127.0.0.1"
_CHUNK_BYTES = 64 * 1024
# https://www.rfc-editor.org/rfc/rfc9112#name-status-line
_STATUS_LINE, _SUCCESS = b"HTTP/1.1 ", b"HTTP/1.1 2"


class Forwarder:
    """Leads to the API at *url*; listens from ``async with`` on, at ``url``.

    ``answers`` counts the responses that reached the caller, ``lost`` those that were kept from it, and
    ``turned_away`` the connections that an outage refused. ``answers_at_loss`` is what ``answers`` was when
    the last one was lost.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._upstream = (parts.hostname or _HOST, parts.port or 80)
        self._parts = parts
        self._notifier = Notifier()
        self._server: asyncio.Server | None = None
        self._callers: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._down = False
        self._lose_next = False
        self.answers = 0
        self.answers_at_loss = 0
        self.lost = 0
        self.turned_away = 0

    @property
    def url(self) -> str:
        if self._server is None:
            raise RuntimeError("the forwarder is not listening")
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
        """Hang up instead of passing on the next response of success: what was asked for was done."""
        self._lose_next = True

    async def wait_for_answers(self, count: int, timeout_s: float) -> None:
        """Wait until so many responses have reached the caller since the beginning."""
        await self._notifier.wait_for(lambda: self.answers >= count, timeout_s, "the API's answer")

    async def wait_for_loss(self, count: int, timeout_s: float) -> None:
        """Wait until so many responses have been lost since the beginning."""
        await self._notifier.wait_for(lambda: self.lost >= count, timeout_s, "an answer to lose")

    async def wait_for_refusals(self, count: int, timeout_s: float) -> None:
        """Wait until so many connections have been turned away since the beginning."""
        await self._notifier.wait_for(
            lambda: self.turned_away >= count, timeout_s, "a knock at the API's door"
        )

    def _hang_up(self) -> None:
        for writer in self._callers.values():
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._down:
            writer.transport.abort()
            self.turned_away += 1
            self._notifier.notify()
            return
        task = asyncio.create_task(self._serve(reader, writer), name="forwarder")
        self._callers[task] = writer
        task.add_done_callback(lambda done: self._callers.pop(done))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes both ways until either side is done, which ends the other."""
        try:
            from_api, to_api = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        ways = [
            asyncio.create_task(self._pass_on(reader, to_api)),
            asyncio.create_task(self._pass_back(from_api, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.close()
            to_api.close()

    async def _pass_on(self, caller: asyncio.StreamReader, api: asyncio.StreamWriter) -> None:
        while data := await caller.read(_CHUNK_BYTES):
            api.write(data)
            await api.drain()

    async def _pass_back(self, api: asyncio.StreamReader, caller: asyncio.StreamWriter) -> None:
        while data := await api.read(_CHUNK_BYTES):
            if self._lose_next and data.startswith(_SUCCESS):
                self._lose_next = False
                caller.transport.abort()
                self.answers_at_loss = self.answers
                self.lost += 1
                self._notifier.notify()
                return
            caller.write(data)
            await caller.drain()
            if data.startswith(_STATUS_LINE):
                self.answers += 1
                self._notifier.notify()
