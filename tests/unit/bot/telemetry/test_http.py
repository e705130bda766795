"""The ops server over real HTTP."""

import asyncio
import logging
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

    def server(self, host: str = "127.0.0.1", port: int = 0, *, connection_s: float = 30.0) -> OpsServer:
        return OpsServer(
            host,
            port,
            not_ready=self.not_ready,
            metrics=self.metrics,
            monotonic_s=lambda: self.now_s,
            connection_s=connection_s,
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


@pytest.mark.parametrize("path", ["/readyz", "/"])
async def test_masks_secrets_in_reasons(server: OpsServer, state: State, path: str) -> None:
    """A reason may quote a signature that an answer repeated."""
    state.reasons = [f"refused: Credential=x, Signature={'c0ffee' * 10}beef"]
    text = (await get(server, path))[2]
    assert "refused: " in text
    assert "c0ffee" not in text


async def test_metrics_answers_in_prometheus_format(server: OpsServer) -> None:
    status, content_type, text = await get(server, "/metrics")
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert text == (
        "# HELP voice_relay_events_delivered_total Events delivered: posted, if the workflow posts.\n"
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


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect_half_open(server: OpsServer) -> Stream:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
    return reader, writer


async def is_closed(stream: Stream) -> bool:
    """Wait until the server closed *stream* without an answer."""
    try:
        return await asyncio.wait_for(stream[0].read(), 10) == b""
    except ConnectionResetError:
        return True
    finally:
        stream[1].transport.abort()


async def test_closes_oldest_connections(server: OpsServer) -> None:
    """Of many half-open connections 32 are kept, and a whole request is answered beside them."""
    streams = [await connect_half_open(server) for _ in range(100)]
    try:
        assert (await get(server, "/healthz"))[0] == 200
        # The answered request took the place of one more.
        assert all([await is_closed(stream) for stream in streams[:69]])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(streams[69][0].read(), 0.1)
    finally:
        for _, writer in streams:
            writer.transport.abort()


async def test_ends_slow_headers(state: State) -> None:
    """Bytes that keep trickling in do not prolong a connection."""
    async with state.server(connection_s=0.3) as server:
        stream = await connect_half_open(server)

        async def trickle() -> None:
            while not stream[1].is_closing():
                stream[1].write(b"x")
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        assert await is_closed(stream)
        await trickling


async def test_closes_after_answer(server: OpsServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /missing HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"connection: close" in answer.lower()


async def get_as(server: OpsServer, host: str) -> int:
    url = f"http://127.0.0.1:{server.port}/"
    async with aiohttp.ClientSession() as session, session.get(url, headers={"Host": host}) as response:
        return response.status


@pytest.mark.parametrize("host", ["relay.example.com", "127.0.0.1.example.com", "relay", "192.0.2.1", ""])
async def test_refuses_foreign_host(server: OpsServer, host: str) -> None:
    """A page whose name resolves to loopback cannot read the pages through its visitor's browser."""
    assert await get_as(server, host) == 421


@pytest.mark.parametrize("host", ["localhost:{port}", "LOCALHOST", "127.0.0.1:{port}", "[::1]:1"])
async def test_answers_on_loopback(server: OpsServer, host: str) -> None:
    assert await get_as(server, host.format(port=server.port)) == 200


async def test_answers_service_names(state: State) -> None:
    """On all addresses a scraper's names for the container work, and a public name does not."""
    async with state.server("0.0.0.0") as server:  # noqa: S104  # the case in question
        for host in ("relay:8080", "192.0.2.1", "relay.monitoring.svc.cluster.local", "relay.internal"):
            assert await get_as(server, host) == 200
        assert await get_as(server, "relay.example.com:8080") == 421


async def test_logs_own_failures_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Anybody who can connect can send a malformed request, again and again."""

    def fail() -> dict[str, float]:
        raise RuntimeError("of the page's own")

    async with OpsServer("127.0.0.1", 0, not_ready=list, metrics=fail) as ops:
        for request in (b"GET / HTTP/9.9\r\n\r\n", b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", ops.port)
            writer.write(request)
            await reader.read()
            writer.close()
    (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "of the page's own"
