"""The pages for health, readiness and metrics of a running relay."""

import asyncio
from pathlib import Path

import aiohttp
from aiohttp import web

from infra.local.discord import StandIn
from tests.support.crowd import add_guilds, join_one
from tests.support.ledger import Ledger
from tests.support.process import Child, start_child
from tests.support.relay_between import relay_between

_POLL_S = 0.02


async def base_url(relay: Child) -> str:
    (line,) = await relay.wait_for_log("ops_listening")
    return f"http://127.0.0.1:{line['port']}"


async def wait_for_answer(http: aiohttp.ClientSession, url: str, status: int, reason: str) -> None:
    """Wait until *url* answers with *status* and a body that has *reason* in it."""
    answer = (0, "")
    try:
        async with asyncio.timeout(20):
            while answer[0] != status or reason not in answer[1]:
                async with http.get(url) as response:
                    answer = (response.status, await response.text())
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise AssertionError(f"{url} answers {answer}, not {status} {reason!r}") from None


async def healthcheck(directory: Path, port: str) -> int:
    async with start_child(["-m", "bot.healthcheck"], directory, {"VOICE_RELAY_OPS_PORT": port}) as check:
        return await check.wait()


async def test_readiness_follows_both_ends(standin: StandIn, tmp_path: Path) -> None:
    """It needs Discord and the API; health says only that the process is alive."""
    (guild,) = add_guilds(standin, 1)
    refusing = True

    async def refuse(_: web.BaseRequest) -> web.StreamResponse | None:
        return web.json_response({"message": "Forbidden"}, status=403) if refusing else None

    await standin.faults.refuse_connections()
    async with (
        Ledger() as api,
        aiohttp.ClientSession() as http,
        relay_between(tmp_path, standin, api, connected=False) as relay,
    ):
        api.answers.extend([refuse] * 100)
        url = await base_url(relay)
        await wait_for_answer(http, url + "/readyz", 503, "not connected to Discord")
        await wait_for_answer(http, url + "/healthz", 200, "")
        await standin.faults.accept_connections()
        await wait_for_answer(http, url + "/readyz", 200, '"ready": true')
        await join_one(guild)
        await wait_for_answer(http, url + "/readyz", 503, "403")
        await wait_for_answer(http, url + "/healthz", 200, "")
        refusing = False
        await wait_for_answer(http, url + "/readyz", 200, '"ready": true')
        await wait_for_answer(http, url + "/metrics", 200, "voice_relay_events_delivered_total 1")
        port = url.rpartition(":")[2]
        assert await healthcheck(tmp_path, port) == 0
        relay.terminate()
        assert await relay.wait() == 0
        assert await healthcheck(tmp_path, port) == 1
