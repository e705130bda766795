"""The sign of life of the real program: there while it does its work, and only then."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from infra.local.discord import StandIn
from tests.e2e.test_health import wait_for_answer
from tests.support.crowd import add_guilds
from tests.support.ledger import Ledger
from tests.support.output import TOKEN, check_output
from tests.support.process import start_relay

_POLL_S = 0.02


class Route:
    """The API's heartbeat route: takes note of bodies, and answers 404 for as long as it is ``missing``."""

    def __init__(self, api: Ledger) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.missing = False
        self._api = api
        api.answers.extend([self._answer] * 1000)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse | None:
        if request.path != "/workflows/heartbeat":
            return None
        if self.missing:
            return web.json_response({"message": "Not Found"}, status=404)
        body = orjson.loads(await request.read())
        assert request.headers["Execution-Name"] == body["id"]
        self.bodies.append(body)
        self._api.changed.set()
        return web.json_response({"executionArn": "arn:x", "startDate": 1.7e9})


async def test_the_sign_of_life_comes_while_all_is_well_and_stays_away_while_discord_is_gone(
    standin: StandIn, tmp_path: Path
) -> None:
    add_guilds(standin, 2)
    async with (
        Ledger() as api,
        aiohttp.ClientSession() as http,
        start_relay(
            tmp_path,
            discord_api_url=standin.api_url,
            token=TOKEN,
            api_endpoint=api.endpoint,
            settings={"HEARTBEAT_S": "1"},
        ) as relay,
    ):
        route = Route(api)
        await api.wait_until(lambda: any(body["guilds"] == 2 for body in route.bodies))
        body = route.bodies[-1]
        assert body == {"id": body["id"], "guilds": 2, "shards": 1, "waiting": 0}
        (line,) = await relay.wait_for_log("ops_listening")
        url = f"http://127.0.0.1:{line['port']}"
        await standin.faults.refuse_connections()
        await standin.faults.drop()
        await wait_for_answer(http, url + "/readyz", 503, "not connected to Discord")
        before = len(route.bodies)
        await _wait_for_age(http, url, 2.5)
        # One may have been on its way when the connection broke.
        assert len(route.bodies) <= before + 1
        relay.terminate()
        assert await relay.wait() == 0
    check_output(relay)
    assert len(relay.log("heartbeat_accepted")) == 1
    assert relay.log("heartbeat_failed") == []
    # It never went through the outbox.
    assert not any("heartbeat" in line["execution"] for line in relay.log("batch_delivered"))


async def test_an_older_stack_is_named_once_and_keeps_nothing_from_its_way(
    standin: StandIn, tmp_path: Path
) -> None:
    (guild,) = add_guilds(standin, 1)
    async with (
        Ledger() as api,
        start_relay(
            tmp_path,
            discord_api_url=standin.api_url,
            token=TOKEN,
            api_endpoint=api.endpoint,
            settings={"HEARTBEAT_S": "1"},
        ) as relay,
    ):
        Route(api).missing = True
        (line,) = await relay.wait_for_log("heartbeat_failed")
        assert (line["level"], line["status"]) == ("warning", 404)
        assert "voice-relay deploy" in line["reason"]
        member = next(member for member in guild.members.values() if not member.user.bot)
        await guild.join(member, next(iter(guild.channels.values())))
        await api.wait_for_events(1)
        relay.terminate()
        assert await relay.wait() == 0
    check_output(relay)
    assert len(relay.log("heartbeat_failed")) == 1


async def _wait_for_age(http: aiohttp.ClientSession, url: str, age_s: float) -> None:
    """Wait until the relay itself says that the last sign of life is that old."""
    async with asyncio.timeout(20):
        while True:
            async with http.get(url) as response:
                metrics = (await response.json())["metrics"]
            if metrics["heartbeat_age_s"] >= age_s:
                assert metrics["heartbeats_total"] >= 1
                return
            await asyncio.sleep(_POLL_S)
