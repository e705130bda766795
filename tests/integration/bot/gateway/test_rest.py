"""What answers in place of Discord's REST API: a proxy, a portal, a web server, or Discord in trouble."""

import asyncio
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from bot.errors import SettingsError
from bot.gateway.rest import Limits, Rest, RestError
from tests.integration.bot.gateway.watcher import TOKEN, first_failures, serving

pytestmark = pytest.mark.usefixtures("short_waits")

LIMITS = {"remaining": 5, "reset_after": 1000, "max_concurrency": 1}
GATEWAY = {"url": "wss://x", "shards": 2, "session_start_limit": LIMITS}


def answer(status: int = 200, **options: Any) -> Callable[[web.Request], Any]:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=status, **options)

    return handle


def answer_json(body: Any, status: int = 200) -> Callable[[web.Request], Any]:
    async def handle(_: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    return handle


PAGE = answer(text="<html>It works!</html>", content_type="text/html")
NOT_DISCORD = {
    "a web server's page": PAGE,
    "another API": answer_json({"hello": "world"}),
    "a page of some length, and 404": answer(404, text="<html>" + "not here " * 1000 + "</html>"),
    "a portal's redirect": answer(302, headers={"Location": "https://portal.invalid/login"}),
    "a portal's 401": answer(401, text="<html>log in</html>"),
    "nothing": answer(),
    "a list": answer_json([1]),
    "an id that is none": answer_json({"id": {"a": 1}}),
    "deep nesting": answer(body=b'{"id":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "a lone surrogate": answer(body=b'{"id":"\\ud800"}'),
    "half a character": answer(body=b'{"id":"\xe2\x82"}'),
    "another compression": answer(body=zlib.compress(b"{}"), headers={"Content-Encoding": "deflate"}),
}


@pytest.mark.parametrize("handler", NOT_DISCORD)
async def test_wrong_api_address_is_named(handler: str) -> None:
    """One short line for each attempt."""
    async with serving(NOT_DISCORD[handler]) as url:
        lines, reason = await first_failures(url, 4)
    assert {line["event"] for line in lines} == {"gateway_failed"}
    assert all("VOICE_RELAY_DISCORD_API_URL" in line["reason"] for line in lines)
    assert all(len(str(line)) < 400 for line in lines)
    assert "VOICE_RELAY_DISCORD_API_URL" in reason


async def test_unreachable_api_is_named(closed_port: int) -> None:
    lines, reason = await first_failures(f"http://127.0.0.1:{closed_port}/api/v10", 4)
    assert {line["event"] for line in lines} == {"gateway_failed"}
    assert all("VOICE_RELAY_DISCORD_API_URL" in line["reason"] for line in lines)
    assert "Discord cannot be reached" in reason


async def ask_gateway(handler: Callable[[web.Request], Any]) -> Limits:
    async with serving(handler) as url, asyncio.timeout(10), Rest(url, TOKEN) as rest:
        return await rest.get_gateway_bot()


async def test_reads_limits() -> None:
    assert await ask_gateway(answer_json(GATEWAY)) == Limits("wss://x", 2, 5, 1.0, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"url": "https://discord.com"},
        {"url": "ws://gateway.example"},
        {"url": "wss://"},
        {"url": 5},
        {"shards": 0},
        {"shards": -1},
        {"shards": "2"},
        {"shards": True},
        {"session_start_limit": None},
        {"session_start_limit": {**LIMITS, "remaining": 1e300}},
        {"session_start_limit": {**LIMITS, "reset_after": -5}},
        {"session_start_limit": {**LIMITS, "max_concurrency": []}},
    ],
)
async def test_refuses_impossible_limits(change: dict[str, Any]) -> None:
    """A negative wait would ask without pause; the token would go to an address without TLS."""
    with pytest.raises(RestError, match="does not answer as Discord's API does"):
        await ask_gateway(answer_json({**GATEWAY, **change}))


async def test_refuses_many_shards() -> None:
    """The bot would build a billion of them."""
    with pytest.raises(RestError, match="VOICE_RELAY_SHARD_IDS"):
        await ask_gateway(answer_json({**GATEWAY, "shards": 10**9}))


async def test_caps_waits() -> None:
    """A reset in a century is one in a day."""
    limits = await ask_gateway(
        answer_json({**GATEWAY, "session_start_limit": {**LIMITS, "reset_after": 1 << 50}})
    )
    assert limits.reset_after_s == 86_400


@pytest.mark.parametrize(
    ("retry_after", "wait_s"),
    [(2.5, 2.5), (1e12, 900.0), (-5, None), ("soon", None), ([], None), (None, None)],
)
async def test_bounds_retry_after(retry_after: Any, wait_s: float | None) -> None:
    """discord.py would sleep for as long as that says."""
    with pytest.raises(RestError, match="Discord answers with 429") as raised:
        await ask_gateway(answer_json({"retry_after": retry_after, "global": True}, 429))
    assert raised.value.retry_after_s == wait_s


async def test_bounds_answer() -> None:
    """An endless body is read no further than any answer is long."""
    sent = 0

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65536)
            sent += 65536

    with pytest.raises(RestError, match="does not answer as Discord's API does"):
        await ask_gateway(handle)
    assert sent < 16 << 20


async def test_refused_token_is_settings_error() -> None:
    with pytest.raises(SettingsError, match="VOICE_RELAY_DISCORD_TOKEN"):
        await ask_gateway(answer_json({"message": "401: Unauthorized", "code": 0}, 401))


async def test_hides_what_answer_says() -> None:
    """The status line is the server's own text, and may hold control characters or a token."""

    async def handle(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 200 OK\r\nX: \x1b[2J" + TOKEN.encode() + b"\x00\r\n\r\n")
        request.transport.close()
        return web.Response()

    with pytest.raises(RestError) as raised:
        await ask_gateway(handle)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400
