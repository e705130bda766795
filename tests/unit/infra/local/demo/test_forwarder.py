"""The forwarder between a real client and a real server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from infra.local.demo.forwarder import Forwarder

TIMEOUT_S = 10.0


class Api:
    """Keeps what it was asked, as it came; ``status`` is what it answers."""

    def __init__(self) -> None:
        self.status = 200
        self.asked: list[tuple[str, str, bytes]] = []

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.asked.append((request.headers["Host"], request.raw_path, body))
        return web.Response(status=self.status, body=body[::-1])


@asynccontextmanager
async def running(api: Api) -> AsyncIterator[str]:
    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("*", "/{path:.*}", api.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def forwarder(api: Api) -> AsyncIterator[Forwarder]:
    async with running(api) as url, Forwarder(f"{url}/some/stage") as forwarder:
        yield forwarder


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT_S)) as session:
        yield session


async def post(client: aiohttp.ClientSession, url: str, body: bytes = b"abc") -> tuple[int, bytes]:
    async with client.post(url, data=body) as response:
        return response.status, await response.read()


async def test_bytes_pass_unchanged(api: Api, forwarder: Forwarder, client: aiohttp.ClientSession) -> None:
    """Path, body and Host header are the caller's own, however large the body is."""
    large = bytes(range(256)) * 4096
    assert await post(client, forwarder.url + "/a%2Fb?c=%20d", large) == (200, large[::-1])
    assert await post(client, forwarder.url) == (200, b"cba")
    host = forwarder.url.split("/")[2]
    assert api.asked == [(host, "/some/stage/a%2Fb?c=%20d", large), (host, "/some/stage", b"abc")]
    assert (forwarder.answers, forwarder.lost, forwarder.turned_away) == (2, 0, 0)


async def test_outage_cuts_what_is_open_and_what_comes(
    api: Api, forwarder: Forwarder, client: aiohttp.ClientSession
) -> None:
    await post(client, forwarder.url)
    forwarder.begin_outage()
    # The first may still find the connection from before, and that it is cut.
    for _ in range(3):
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await post(client, forwarder.url)
    await forwarder.wait_for_refusals(2, TIMEOUT_S)
    assert len(api.asked) == 1

    forwarder.end_outage()
    assert (await post(client, forwarder.url))[0] == 200
    assert forwarder.answers == 2


async def test_outage_cuts_a_request_under_way(api: Api, client: aiohttp.ClientSession) -> None:
    arrived, hold = asyncio.Event(), asyncio.Event()

    class Slow(Api):
        async def answer(self, request: web.Request) -> web.Response:
            arrived.set()
            await hold.wait()
            return await super().answer(request)

    async with running(Slow()) as url, Forwarder(url) as forwarder:
        asking = asyncio.create_task(post(client, forwarder.url))
        await arrived.wait()
        forwarder.begin_outage()
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await asking
        hold.set()


async def test_answer_is_lost_once_after_the_request_was_taken(
    api: Api, forwarder: Forwarder, client: aiohttp.ClientSession
) -> None:
    await post(client, forwarder.url)
    forwarder.lose_next_answer()
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await post(client, forwarder.url)
    await forwarder.wait_for_loss(1, TIMEOUT_S)
    assert len(api.asked) == 2

    assert (await post(client, forwarder.url))[0] == 200
    await forwarder.wait_for_answers(2, TIMEOUT_S)
    assert (forwarder.answers, forwarder.answers_at_loss, forwarder.lost) == (2, 1, 1)


async def test_only_a_success_is_lost(api: Api, forwarder: Forwarder, client: aiohttp.ClientSession) -> None:
    """A refusal did nothing: losing it would show nothing."""
    forwarder.lose_next_answer()
    api.status = 400
    assert (await post(client, forwarder.url))[0] == 400
    api.status = 201
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await post(client, forwarder.url)


async def test_api_that_is_not_there_is_a_connection_cut(client: aiohttp.ClientSession) -> None:
    async with running(Api()) as url:
        pass
    async with Forwarder(url) as forwarder:
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await post(client, forwarder.url)


async def test_waiting_in_vain_names_what_did_not_come(forwarder: Forwarder) -> None:
    with pytest.raises(TimeoutError, match="an answer to lose"):
        await forwarder.wait_for_loss(1, 0.01)
