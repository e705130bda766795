"""The proxy between a real client and a real server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from infra.local.faulty_proxy import Fault, FaultyProxy

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
async def proxy(api: Api) -> AsyncIterator[FaultyProxy]:
    async with running(api) as url, FaultyProxy(f"{url}/some/stage") as proxy:
        yield proxy


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT_S)) as session:
        yield session


async def post(client: aiohttp.ClientSession, url: str, body: bytes = b"abc") -> tuple[int, bytes]:
    async with client.post(url, data=body) as response:
        return response.status, await response.read()


async def test_bytes_pass_unchanged(api: Api, proxy: FaultyProxy, client: aiohttp.ClientSession) -> None:
    """Path, body and Host header are the caller's own, however large the body is."""
    large = bytes(range(256)) * 4096
    assert await post(client, proxy.url + "/a%2Fb?c=%20d", large) == (200, large[::-1])
    assert await post(client, proxy.url) == (200, b"cba")
    host = proxy.url.split("/")[2]
    assert api.asked == [(host, "/some/stage/a%2Fb?c=%20d", large), (host, "/some/stage", b"abc")]
    assert (proxy.answers, proxy.lost, proxy.refused) == (2, 0, 0)


async def test_outage_cuts_every_connection(
    api: Api, proxy: FaultyProxy, client: aiohttp.ClientSession
) -> None:
    await post(client, proxy.url)
    proxy.begin_outage()
    # The first may still find the connection from before, and that it is cut.
    for _ in range(3):
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await post(client, proxy.url)
    await proxy.wait_for_refusals(2, TIMEOUT_S)
    assert len(api.asked) == 1

    proxy.end_outage()
    assert (await post(client, proxy.url))[0] == 200
    assert proxy.answers == 2


async def test_outage_cuts_request_under_way(api: Api, client: aiohttp.ClientSession) -> None:
    arrived, hold = asyncio.Event(), asyncio.Event()

    class Slow(Api):
        async def answer(self, request: web.Request) -> web.Response:
            arrived.set()
            await hold.wait()
            return await super().answer(request)

    async with running(Slow()) as url, FaultyProxy(url) as proxy:
        asking = asyncio.create_task(post(client, proxy.url))
        await arrived.wait()
        proxy.begin_outage()
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await asking
        hold.set()


async def test_answer_is_lost_once(api: Api, proxy: FaultyProxy, client: aiohttp.ClientSession) -> None:
    await post(client, proxy.url)
    proxy.lose_next_answer()
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await post(client, proxy.url)
    await proxy.wait_for_loss(1, TIMEOUT_S)
    assert len(api.asked) == 2

    assert (await post(client, proxy.url))[0] == 200
    await proxy.wait_for_answers(2, TIMEOUT_S)
    assert (proxy.answers, proxy.answers_at_loss, proxy.lost) == (2, 1, 1)


async def test_only_success_is_lost(api: Api, proxy: FaultyProxy, client: aiohttp.ClientSession) -> None:
    """A refusal did nothing: losing it would show nothing."""
    proxy.lose_next_answer()
    api.status = 400
    assert (await post(client, proxy.url))[0] == 400
    api.status = 201
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await post(client, proxy.url)


async def test_absent_api_cuts_connection(client: aiohttp.ClientSession) -> None:
    async with running(Api()) as url:
        pass
    async with FaultyProxy(url) as proxy:
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await post(client, proxy.url)


async def test_vain_wait_names_its_object(proxy: FaultyProxy) -> None:
    with pytest.raises(TimeoutError, match="an answer to lose"):
        await proxy.wait_for_loss(1, 0.01)


# Whether the API is asked, and whether the caller is answered.
FAULTS: dict[Fault, bool] = {
    "reset_before": False,
    "reset_during": False,
    "reset_after": True,
    "cut_answer": True,
    "swallow_request": False,
    "swallow_answer": True,
}


@pytest.mark.parametrize("reused", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
async def test_fault_befalls_request(api: Api, fault: Fault, *, reused: bool) -> None:
    """Once, on a new connection or on one that is open already; the next request goes through."""
    faults: list[Fault | None] = [None, fault] if reused else [fault]

    async with (
        running(api) as url,
        FaultyProxy(url, lambda: faults.pop(0) if faults else None) as proxy,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(0.3)) as client,
    ):
        if reused:
            assert (await post(client, proxy.url))[0] == 200
        with pytest.raises((aiohttp.ClientError, ConnectionError, TimeoutError)):
            await post(client, proxy.url)
        assert proxy.faults == {fault: 1}
        assert len(api.asked) == int(reused) + FAULTS[fault]
        assert (await post(client, proxy.url))[0] == 200
