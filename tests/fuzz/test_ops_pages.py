"""Whatever is sent to the ops server: it answers the next request, and nothing is logged as a failure."""

import asyncio
import logging
from typing import Any, Final

import hypothesis.strategies as st
from hypothesis import example, given

from bot.telemetry.http import OpsServer

_LINE: Final = st.sampled_from(
    [
        *(b"GET / HTTP/1.1", b"GET /readyz HTTP/1.1", b"GET /../../etc HTTP/1.1", b"GET /%00%ff%u HTTP/1.1"),
        *(b"GET http://[::1/ HTTP/1.1", b"GET //x@y:z HTTP/1.1", b"CONNECT x:99999 HTTP/1.1"),
        *(b"POST /metrics HTTP/1.1", b"HEAD / HTTP/1.1", b"GET / HTTP/1.0", b"PRI * HTTP/2.0", b""),
        *(b"GET /" + b"a" * 9000 + b" HTTP/1.1", b"\x16\x03\x01", b"GET \xed\xa0\x80 HTTP/1.1"),
    ]
)
_HEADER: Final = st.one_of(
    st.sampled_from(
        [
            *(b"Host: 127.0.0.1", b"Host: \xff", b"Host: [::1", b"Host: a:99999", b"Host: \xed\xa0\x80"),
            *(b"Host:", b"Content-Length: 5", b"Content-Length: -5", b"Transfer-Encoding: chunked", b"X"),
            *(b"Upgrade: websocket", b"Expect: 100-continue", b"Expect: x", b"Cookie: " + b"a" * 9000),
        ]
    ),
    st.binary(max_size=30),
)
REQUESTS: Final = st.builds(
    lambda line, headers, body: b"\r\n".join([line, *headers, b"", body]),
    _LINE,
    st.lists(_HEADER, max_size=4),
    st.binary(max_size=40),
)


@given(st.lists(REQUESTS | st.binary(max_size=60), min_size=1, max_size=3))
@example([b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 500 + b"\r\n"])
def test_requests_do_no_harm(requests: list[bytes]) -> None:
    failures: list[Any] = []
    handler = _Keep(failures)
    logging.root.addHandler(handler)
    try:
        answer = asyncio.run(exchange(requests, failures))
    finally:
        logging.root.removeHandler(handler)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert not failures


class _Keep(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self, kept: list[Any]) -> None:
        super().__init__(logging.ERROR)
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        self._kept.append(record.getMessage())


async def exchange(requests: list[bytes], failures: list[Any]) -> bytes:
    """Send *requests*, each on a connection that is then closed, and return the answer to one more."""
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    async with OpsServer(
        "127.0.0.1", 0, not_ready=lambda: ["\x1b[2J\u202e"], metrics=dict, connection_s=0.05
    ) as ops:
        for request in requests:
            await send(ops.port, request)
        # A busy machine may take longer than a connection lasts here.
        while not (answer := await send(ops.port, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")):
            pass
        return answer


async def send(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()
