"""One POST over aiohttp's kept-alive connections, without the session around them.

aiohttp opens the connections, keeps them, and parses what comes back. What its session adds to each request
(cookies, redirects, proxies, tracing, a task for the body) is not needed here, and took half of the time that
a request took.
"""

# Uses names of aiohttp 3.14 that are not documented: ``TCPConnector.connect``, ``Connection.protocol`` and
# ``ResponseHandler``. The tests of the client send every request through them, over real sockets.

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

import aiohttp
import yarl
from aiohttp.http import HttpProcessingError

_CONNECT_TIMEOUT_S: Final = 10.0
_KEEP_ALIVE_S: Final = 55.0


class Answer(NamedTuple):
    """What came back: the status, the headers, and the body as far as it was read."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Exchange:
    """Keeps connections until ``close``, at most *max_connections* of them, or any number with 0."""

    def __init__(self, *, max_connections: int, timeout_s: float) -> None:
        self._connector = aiohttp.TCPConnector(limit=max_connections, keepalive_timeout=_KEEP_ALIVE_S)
        self._timeout_s = timeout_s
        self._connect_timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_TIMEOUT_S)
        self._targets: dict[yarl.URL, aiohttp.ClientRequest] = {}

    async def close(self) -> None:
        await self._connector.close()

    async def post(
        self, url: yarl.URL, headers: Mapping[str, str], body: bytes, *, answer_max_bytes: int
    ) -> Answer:
        """Send *body* with *headers*, the Host among them, and read about *answer_max_bytes* of the answer.

        Raises TimeoutError, its subclass ConnectionTimeoutError, or another aiohttp.ClientError.
        """
        request = _render(url, headers, body)
        async with asyncio.timeout(self._timeout_s):
            connection = await self._connect(url)
            try:
                answer = await _ask(connection, request, answer_max_bytes)
            except HttpProcessingError as error:
                connection.close()
                raise aiohttp.ClientPayloadError(f"{error.code}, message={error.message!r}") from error
            except BaseException:
                connection.close()
                raise
            connection.release()
            return answer

    async def _connect(self, url: yarl.URL) -> aiohttp.connector.Connection:
        try:
            return await self._connector.connect(self._target(url), [], self._connect_timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(f"Connection timeout to host {url}") from error

    def _target(self, url: yarl.URL) -> aiohttp.ClientRequest:
        """Return what the connector needs to know of the host; nothing of it is sent."""
        target = self._targets.get(url)
        if target is None:
            target = self._targets[url] = aiohttp.ClientRequest("POST", url, loop=asyncio.get_running_loop())
        return target


async def _ask(connection: aiohttp.connector.Connection, request: bytes, answer_max_bytes: int) -> Answer:
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None:
        raise aiohttp.ServerDisconnectedError
    protocol.set_response_params(read_until_eof=True)
    transport.write(request)
    while True:
        message, payload = await protocol.read()
        # Others are interim: https://www.rfc-editor.org/rfc/rfc9110#section-15.2
        if message.code >= 200 or message.code == 101:
            break
    body = await read_body(payload, answer_max_bytes)
    if transport.get_write_buffer_size():
        # Answered early: what is left of the request must not go before the next one.
        protocol.force_close()
    return Answer(message.code, message.headers, body)


def _render(url: yarl.URL, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"POST {url.raw_path_qs} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append(f"content-length: {len(body)}\r\n\r\n")
    head = "\r\n".join(lines)
    if not head.count("\r") == head.count("\n") == len(lines) + 1:
        raise ValueError("a header with a line break")
    return head.encode() + body


async def read_body(content: aiohttp.StreamReader, max_bytes: int) -> bytes:
    """Return the body, or about *max_bytes* of a longer one."""
    body = await content.readany()
    if content.at_eof():
        return body
    parts = bytearray(body)
    while len(parts) < max_bytes and (chunk := await content.readany()):
        parts += chunk
    return bytes(parts)
