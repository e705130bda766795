"""The pages about the relay itself, over real HTTP, and the health check that asks one of them."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

import bot
from bot.errors import StartupError
from bot.healthcheck import DEFAULT_PORT, check, read_settings
from bot.settings.settings import Settings
from bot.telemetry.http import OpsServer, render_metrics


class State:
    """What the relay would tell."""

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


async def test_is_healthy_while_it_answers(server: OpsServer, state: State) -> None:
    state.reasons = ["not connected to Discord yet"]
    assert (await get(server, "/healthz"))[::2] == (200, "ok\n")


async def test_is_ready_when_nothing_stands_against_it(server: OpsServer, state: State) -> None:
    assert (await get(server, "/readyz"))[::2] == (200, '{"ready": true, "reasons": []}')
    state.reasons = ["not connected to Discord yet", "disk full"]
    status, _, text = await get(server, "/readyz")
    assert status == 503
    assert text == '{"ready": false, "reasons": ["not connected to Discord yet", "disk full"]}'


async def test_gives_its_numbers_to_prometheus(server: OpsServer) -> None:
    status, content_type, text = await get(server, "/metrics")
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert text == (
        "# TYPE voice_relay_events_delivered_total counter\n"
        "voice_relay_events_delivered_total 3\n"
        "# TYPE voice_relay_events_waiting gauge\n"
        "voice_relay_events_waiting 0.5\n"
    )


async def test_tells_its_state_in_one_page(server: OpsServer, state: State) -> None:
    state.now_s += 61.04
    status, content_type, text = await get(server, "/")
    assert (status, content_type) == (200, "application/json; charset=utf-8")
    assert text == (
        '{"ready": true, "reasons": [], "uptime_s": 61.0, '
        '"metrics": {"events_delivered_total": 3, "events_waiting": 0.5}}'
    )


async def test_has_no_other_page(server: OpsServer) -> None:
    assert (await get(server, "/settings"))[0] == 404


def test_renders_nothing_for_no_numbers() -> None:
    assert render_metrics({}) == ""


async def test_a_port_in_use_is_explained(server: OpsServer, state: State) -> None:
    with pytest.raises(StartupError, match=r"port \d+ \(Address already in use\): set VOICE_RELAY_OPS_PORT"):
        async with state.server(port=server.port):
            pass


async def test_an_address_of_another_machine_is_explained(state: State) -> None:
    with pytest.raises(StartupError, match=r"on 192\.0\.2\.1 port 0 \(.+\): set .* VOICE_RELAY_OPS_HOST"):
        async with state.server(host="192.0.2.1"):
            pass


async def test_a_name_that_is_none_is_explained(state: State) -> None:
    with pytest.raises(StartupError, match=r"on nowhere\.invalid port 0 \(.+\): set "):
        async with state.server(host="nowhere.invalid"):
            pass


async def test_its_port_is_free_again_once_it_is_closed(state: State) -> None:
    async with state.server() as first:
        port = first.port
    async with state.server(port=port) as second:
        assert second.port == port


@pytest.fixture(autouse=True)
def _no_settings_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VOICE_RELAY_OPS_PORT", raising=False)
    monkeypatch.delenv("VOICE_RELAY_OPS_HOST", raising=False)


def ask(environ: Mapping[str, str]) -> tuple[int, str]:
    """Run the check as a container does, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bot.healthcheck"],
        env={**os.environ, "PYTHONPATH": str(Path(bot.__file__).parents[1]), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", ""])  # noqa: S104  # only asked at
async def test_the_health_check_finds_it_alive(server: OpsServer, host: str) -> None:
    environ = {
        "VOICE_RELAY_OPS_PORT": str(server.port),
        "VOICE_RELAY_OPS_HOST": host,
        "http_proxy": "http://127.0.0.1:1",
        "no_proxy": "",
    }
    # On a thread, because the server needs this loop to answer.
    answer = await asyncio.to_thread(ask, environ)
    assert answer == (0, f"alive: http://127.0.0.1:{server.port}/healthz answers\n")


@pytest.mark.parametrize(
    ("lines", "environ", "asks"),
    [
        ("VOICE_RELAY_OPS_PORT=1\nVOICE_RELAY_OPS_HOST=::1\n", {}, "http://[::1]:1/"),
        ("export voice_relay_ops_port='1'\n", {}, "http://127.0.0.1:1/"),
        ("VOICE_RELAY_OPS_PORT=2\n", {"VOICE_RELAY_OPS_PORT": "1"}, "http://127.0.0.1:1/"),
        (
            "VOICE_RELAY_OPS_PORT=1\nVOICE_RELAY_OPS_HOST=::1\n",
            {"VOICE_RELAY_OPS_HOST": ""},
            "http://[::1]:1/",
        ),
        ("VOICE_RELAY_OPS_PORT=\n", {}, "not checked"),
        ("VOICE_RELAY_OPS_PORT=1\n", {"VOICE_RELAY_OPS_PORT": ""}, "not checked"),
        ("SOMETHING=else\n", {"VOICE_RELAY_OPS_PORT": "1"}, "http://127.0.0.1:1/"),
    ],
)
def test_the_health_check_asks_where_the_settings_say(
    tmp_path: Path, lines: str, environ: Mapping[str, str], asks: str
) -> None:
    """Those of ``.env`` and the environment, as the relay itself takes them."""
    (tmp_path / ".env").write_text(lines)
    _, line = check(read_settings(tmp_path / ".env", environ))
    assert asks in line


def test_the_health_check_reads_the_file_of_its_directory(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("VOICE_RELAY_OPS_PORT=\n")
    assert ask({})[0] == 0
    (tmp_path / ".env").write_bytes(b"VOICE_RELAY_OPS_PORT=\xff")
    assert ask({}) == (1, "cannot check: .env cannot be read (UnicodeDecodeError)\n")


@pytest.mark.parametrize("host", ["::", "::1"])
def test_the_health_check_asks_over_ipv6_too(host: str) -> None:
    _, line = check({"VOICE_RELAY_OPS_PORT": "1", "VOICE_RELAY_OPS_HOST": host})
    assert line.startswith("not alive: http://[::1]:1/healthz ")


def test_the_health_check_finds_it_dead() -> None:
    code, line = ask({"VOICE_RELAY_OPS_PORT": "1", "VOICE_RELAY_OPS_HOST": "127.0.0.1"})
    assert code == 1
    assert line.startswith("not alive: http://127.0.0.1:1/healthz does not answer (")
    assert line.count("\n") == 1


async def test_the_health_check_finds_another_server_in_its_place() -> None:
    runner = web.AppRunner(web.Application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = str(runner.addresses[0][1])
    try:
        alive, line = await asyncio.to_thread(check, {"VOICE_RELAY_OPS_PORT": port})
    finally:
        await runner.cleanup()
    assert (alive, line) == (False, f"not alive: http://127.0.0.1:{port}/healthz answers 404")


@pytest.mark.parametrize(
    ("port", "alive", "begins"),
    [("", True, "not checked: "), ("0", False, "cannot check: "), ("http", False, "cannot check: ")],
)
def test_the_health_check_says_what_it_cannot_ask(port: str, alive: bool, begins: str) -> None:
    result, line = check({"VOICE_RELAY_OPS_PORT": port})
    assert result is alive
    assert line.startswith(begins)


def test_the_health_check_knows_the_settings_defaults() -> None:
    """It reads the variables without the settings, and so has their defaults of its own."""
    fields = Settings.model_fields
    _, line = check({"VOICE_RELAY_OPS_HOST": "", "VOICE_RELAY_OPS_PORT": "1"})
    assert f"http://{fields['ops_host'].default}:1/" in line
    assert str(fields["ops_port"].default) == DEFAULT_PORT
