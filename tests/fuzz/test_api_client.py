"""The API client and whatever answers at the endpoint: a result or a DeliveryError, and no secret in it."""

import asyncio
import gzip
from typing import Final

import hypothesis.strategies as st
from botocore.credentials import ReadOnlyCredentials
from hypothesis import example, given

from bot.api.client import ApiClient
from bot.api.executions import Executions
from bot.api.target import FixedCredentials, Target
from bot.errors import DeliveryError
from tests.support.secret_samples import SESSION_TOKEN

ARN: Final = "arn:aws:states:us-east-1:123456789012:execution:notify:1-01JD"
SECRET_KEY: Final = "wJalrXUtnFEMI/K7MDENG"
KEY: Final = ReadOnlyCredentials("AKIDEXAMPLE", SECRET_KEY, SESSION_TOKEN)
_TOKEN: Final = SESSION_TOKEN.encode()

_STATUS: Final = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK", b"HTTP/1.1 400 ", b"HTTP/1.1 403 x", b"HTTP/1.1 503 " + _TOKEN),
        *(b"HTTP/1.1 100 Continue", b"HTTP/1.1 101 Switching", b"HTTP/1.1 204 x", b"HTTP/1.1 302 x"),
        *(b"HTTP/1.0 200 OK", b"HTTP/9.9 200 OK", b"HTTP/1.1 -1 x", b"HTTP/1.1 999 x", b"ICY 200", b""),
        b"\x16\x03\x01\x02\x00",
    ]
)
_HEADER: Final = st.one_of(
    st.sampled_from(
        [
            *(b"Content-Type: application/json", b"Content-Length: 5", b"Content-Length: -1"),
            *(b"Content-Length: 99999999999999999999", b"Content-Length: x", b"Transfer-Encoding: chunked"),
            *(b"Content-Encoding: gzip", b"Content-Encoding: br", b"Content-Encoding: deflate"),
            *(b"Retry-After: " + b"9" * 5000, b"Retry-After: Sat, 99 Nov 99999 00:00:00 +99999999"),
            *(b"Date: x", b"X: " + _TOKEN, b"X: " + b"y" * 70_000, b": x", b"\xff\xfe: \x00", b" folded"),
            b"Location: http://127.0.0.1:1/",
        ]
    ),
    st.binary(max_size=30),
)
_BODY: Final = st.one_of(
    st.binary(max_size=100),
    st.sampled_from(
        [
            *(b"{}", b"[]", b'{"executionArn": 1}', b'{"executionArn": "' + _TOKEN + b'"}'),
            *(b'{"__type": {}}', b'{"message": "' + _TOKEN + b'"}', b"[" * 100_000, b"0\r\n\r\n"),
            *(b'{"status": "SUCCEEDED", "output": "{}"}', b'5\r\n{"a":\r\n', b"ffffffffffffffff\r\n"),
            *(gzip.compress(bytes(1 << 20))[:500], gzip.compress(bytes(1 << 24))),
        ]
    ),
)
ANSWERS: Final = st.builds(
    lambda status, headers, body: b"\r\n".join([status, *headers, b"", body]),
    _STATUS,
    st.lists(_HEADER, max_size=4),
    _BODY,
)


@given(ANSWERS | st.binary(max_size=100))
@example(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n")
def test_answer_is_result_or_delivery_error(answer: bytes) -> None:
    for text in asyncio.run(ask(answer)):
        assert not any(secret in text for secret in (SESSION_TOKEN, SECRET_KEY))
        assert text.isprintable()
        assert len(text) < 2000


async def ask(answer: bytes) -> list[str]:
    """Return what the two requests come to, at a server that says *answer* to each and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    texts = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with (
        server,
        ApiClient(Target(endpoint, "us-east-1", FixedCredentials(KEY)), max_connections=0) as api,
    ):
        for request in (api.start("notify", "1-01JD", b"{}"), Executions(api).describe(ARN)):
            try:
                texts.append(str(await request))
            except DeliveryError as error:
                texts.append(f"{error} {error.code}")
    return texts
