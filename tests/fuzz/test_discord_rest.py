"""What answers in place of Discord's REST API, whatever it is: limits, an id, or an error with a sentence."""

import asyncio
import json
from typing import Any, Final

import hypothesis.strategies as st
from hypothesis import given, settings

from bot.errors import SettingsError
from bot.gateway.rest import SHARDS_MAX, Limits, Rest, RestError

_KEYS: Final = st.sampled_from(
    [
        *("id", "url", "shards", "session_start_limit", "remaining", "reset_after", "max_concurrency"),
        *("message", "retry_after", "global"),
    ]
)
_LEAVES: Final = (
    st.none()
    | st.booleans()
    | st.integers(-5, 1 << 64)
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["wss://x", "ws://127.0.0.1/", "7"])
)
_VALUES: Final = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=5)
)
_WHOLE: Final = st.integers(-1, 1 << 64) | _LEAVES
_GATEWAYS: Final = st.fixed_dictionaries(
    {
        "url": st.just("wss://x"),
        "shards": st.integers(-1, 1 << 64),
        "session_start_limit": st.fixed_dictionaries(
            {
                key: st.integers(-1, 1 << 64) | _LEAVES
                for key in ("remaining", "reset_after", "max_concurrency")
            }
        ),
    }
)
_BODIES: Final = st.binary(max_size=200) | (_VALUES | _GATEWAYS).map(lambda value: json.dumps(value).encode())
_STATUSES: Final = st.sampled_from([200, 204, 302, 400, 401, 403, 404, 429, 500, 503, 999])
_HEADERS: Final = st.lists(
    st.sampled_from(
        [
            b"Content-Encoding: gzip",
            b"Content-Type: application/json",
            b"Retry-After: 1e99",
            b"X-RateLimit-Reset-After: nan",
            b"Transfer-Encoding: chunked",
            b"Location: https://portal.invalid/",
            b"Date: \x1b[2J",
            b"no header",
        ]
    ),
    max_size=3,
)


@given(_STATUSES, _HEADERS, _BODIES)
@settings(max_examples=max(25, settings().max_examples // 4))
def test_answers_are_parsed_or_refused(status: int, headers: list[bytes], body: bytes) -> None:
    head = b"\r\n".join([b"HTTP/1.1 %d Fine" % status, *headers, b"Connection: close"])
    asyncio.run(_ask(head + b"\r\n\r\n" + body))


@given(st.binary(max_size=300))
@settings(max_examples=max(25, settings().max_examples // 4))
def test_bytes_are_refused(answer: bytes) -> None:
    asyncio.run(_ask(answer))


async def _ask(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with Rest(f"http://127.0.0.1:{port}/api/v10", "a.b.c") as rest:
            for ask in (rest.get_bot_id, rest.get_gateway_bot):
                answers: Any = await asyncio.gather(ask(), return_exceptions=True)
                _check(*answers)


def _check(answer: str | Limits | BaseException) -> None:
    if isinstance(answer, Limits):
        assert 1 <= answer.shards <= SHARDS_MAX
        assert 0 <= answer.reset_after_s <= 86_400
        return
    if isinstance(answer, RestError):
        assert answer.retry_after_s is None or 0 < answer.retry_after_s <= 900
    # An id, or a sentence.
    assert isinstance(answer, str | RestError | SettingsError)
    assert str(answer).isprintable()
    assert len(str(answer)) < 400
