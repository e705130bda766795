"""The ops server over real HTTP."""

from collections.abc import AsyncIterator, Mapping, Sequence

import aiohttp
import pytest

from bot.errors import StartupError
from bot.telemetry.http import OpsServer


class State:
    """The state of a relay, set by the test."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.numbers: dict[str, float] = {"events_delivered_total": 3, "events_waiting": 0.5}
        self.now_s = 100.0

    def not_ready(self) -> Sequence[str]:
        return self.reasons

    def metrics(self) -> Mapping[str, float]:
        return self.numbers

    def server(self, host: str = "127.0.0.1", port: int = 0) -> OpsServer:
        return OpsServer(
            host, port, not_ready=self.not_ready, metrics=self.metrics, monotonic_s=lambda: self.now_s
        )


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
async def server(state: State) -> AsyncIterator[OpsServer]:
    async with state.server() as server:
        yield server


async def get(server: OpsServer, path: str) -> tuple[int, str, str]:
    url = f"http://127.0.0.1:{server.port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, response.headers["Content-Type"], await response.text()


async def test_healthz_answers_while_not_ready(server: OpsServer, state: State) -> None:
    state.reasons = ["not connected to Discord yet"]
    assert (await get(server, "/healthz"))[::2] == (200, "ok\n")


async def test_readyz_names_each_reason(server: OpsServer, state: State) -> None:
    assert (await get(server, "/readyz"))[::2] == (200, '{"ready": true, "reasons": []}')
    state.reasons = ["not connected to Discord yet", "disk full"]
    status, _, text = await get(server, "/readyz")
    assert status == 503
    assert text == '{"ready": false, "reasons": ["not connected to Discord yet", "disk full"]}'


async def test_metrics_answers_in_prometheus_format(server: OpsServer) -> None:
    status, content_type, text = await get(server, "/metrics")
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert text == (
        "# HELP voice_relay_events_delivered_total Events that the API accepted.\n"
        "# TYPE voice_relay_events_delivered_total counter\n"
        "voice_relay_events_delivered_total 3\n"
        "# HELP voice_relay_events_waiting Events in the outbox, including those in flight.\n"
        "# TYPE voice_relay_events_waiting gauge\n"
        "voice_relay_events_waiting 0.5\n"
    )


async def test_status_page_has_everything(server: OpsServer, state: State) -> None:
    state.now_s += 61.04
    status, content_type, text = await get(server, "/")
    assert (status, content_type) == (200, "application/json; charset=utf-8")
    assert text == (
        '{"ready": true, "reasons": [], "uptime_s": 61.0, '
        '"metrics": {"events_delivered_total": 3, "events_waiting": 0.5}}'
    )


async def test_other_paths_are_not_found(server: OpsServer) -> None:
    assert (await get(server, "/settings"))[0] == 404


async def test_explains_port_in_use(server: OpsServer, state: State) -> None:
    with pytest.raises(StartupError, match=r"port \d+ \(Address already in use\): set VOICE_RELAY_OPS_PORT"):
        async with state.server(port=server.port):
            pass


async def test_explains_foreign_address(state: State) -> None:
    with pytest.raises(StartupError, match=r"on 192\.0\.2\.1 port 0 \(.+\): set .* VOICE_RELAY_OPS_HOST"):
        async with state.server(host="192.0.2.1"):
            pass


async def test_explains_unknown_host_name(state: State) -> None:
    with pytest.raises(StartupError, match=r"on nowhere\.invalid port 0 \(.+\): set "):
        async with state.server(host="nowhere.invalid"):
            pass


async def test_close_frees_the_port(state: State) -> None:
    async with state.server() as first:
        port = first.port
    async with state.server(port=port) as second:
        assert second.port == port
