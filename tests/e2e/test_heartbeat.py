"""The heartbeat of the real program: sent while it does its work, and only then."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from infra.local.discord import StandIn
from tests.e2e.test_health import wait_for_answer
from tests.support.crowd import add_guilds, join_one
from tests.support.ledger import Ledger
from tests.support.relay_between import relay_between

_POLL_S = 0.02


class Route:
    """The API's heartbeat route: keeps the bodies, or answers 404 while it is ``missing``."""

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


async def test_heartbeat_needs_discord(standin: StandIn, tmp_path: Path) -> None:
    """It is sent while the relay is ready, and only then."""
    add_guilds(standin, 2)
    async with (
        Ledger() as api,
        aiohttp.ClientSession() as http,
        relay_between(tmp_path, standin, api, connected=False, HEARTBEAT_S="1") as relay,
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
        # One may have been in flight when the connection broke.
        assert len(route.bodies) <= before + 1
        relay.terminate()
        assert await relay.wait() == 0
    assert len(relay.log("heartbeat_accepted")) == 1
    assert relay.log("heartbeat_failed") == []
    # Heartbeats do not go through the outbox.
    assert not any("heartbeat" in line["execution"] for line in relay.log("batch_delivered"))


async def test_older_stack_is_named_once(standin: StandIn, tmp_path: Path) -> None:
    """A stack without the route gets no heartbeat, and events are delivered all the same."""
    (guild,) = add_guilds(standin, 1)
    async with (
        Ledger() as api,
        relay_between(tmp_path, standin, api, connected=False, HEARTBEAT_S="1") as relay,
    ):
        Route(api).missing = True
        (line,) = await relay.wait_for_log("heartbeat_failed")
        assert (line["level"], line["status"]) == ("warning", 404)
        assert "voice-relay deploy" in line["reason"]
        await join_one(guild)
        await api.wait_for_events(1)
        relay.terminate()
        assert await relay.wait() == 0
    assert len(relay.log("heartbeat_failed")) == 1


async def _wait_for_age(http: aiohttp.ClientSession, url: str, age_s: float) -> None:
    """Wait until the relay reports that its last heartbeat is that old."""
    async with asyncio.timeout(20):
        while True:
            async with http.get(url) as response:
                metrics = (await response.json())["metrics"]
            if metrics["heartbeat_age_s"] >= age_s:
                assert metrics["heartbeats_total"] >= 1
                return
            await asyncio.sleep(_POLL_S)
