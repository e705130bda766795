"""The health check against real servers."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from aiohttp import web

import bot
from bot.healthcheck import DEFAULT_PORT, check, read_settings
from bot.settings.settings import Settings
from bot.telemetry.http import OpsServer


@pytest.fixture
async def server() -> AsyncIterator[OpsServer]:
    async with OpsServer("127.0.0.1", 0, not_ready=list, metrics=dict) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_other_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VOICE_RELAY_OPS_PORT", raising=False)
    monkeypatch.delenv("VOICE_RELAY_OPS_HOST", raising=False)


def ask(environ: Mapping[str, str]) -> tuple[int, str]:
    """Run the check as a container does, as a child process."""
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


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", ""])  # noqa: S104  # a client only
async def test_alive_while_the_server_answers(server: OpsServer, host: str) -> None:
    environ = {
        "VOICE_RELAY_OPS_PORT": str(server.port),
        "VOICE_RELAY_OPS_HOST": host,
        "http_proxy": "http://127.0.0.1:1",
        "no_proxy": "",
    }
    # On a thread: the server needs this loop to answer.
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
def test_uses_the_configured_address(
    tmp_path: Path, lines: str, environ: Mapping[str, str], asks: str
) -> None:
    """``.env`` and the environment count here as they do for the relay."""
    (tmp_path / ".env").write_text(lines)
    _, line = check(read_settings(tmp_path / ".env", environ))
    assert asks in line


def test_reads_env_file_of_working_directory(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("VOICE_RELAY_OPS_PORT=\n")
    assert ask({})[0] == 0
    (tmp_path / ".env").write_bytes(b"VOICE_RELAY_OPS_PORT=\xff")
    assert ask({}) == (1, "cannot check: cannot read .env (UnicodeDecodeError)\n")


@pytest.mark.parametrize("host", ["::", "::1"])
def test_brackets_ipv6_hosts(host: str) -> None:
    _, line = check({"VOICE_RELAY_OPS_PORT": "1", "VOICE_RELAY_OPS_HOST": host})
    assert line.startswith("not alive: http://[::1]:1/healthz ")


def test_not_alive_without_a_server() -> None:
    code, line = ask({"VOICE_RELAY_OPS_PORT": "1", "VOICE_RELAY_OPS_HOST": "127.0.0.1"})
    assert code == 1
    assert line.startswith("not alive: http://127.0.0.1:1/healthz does not answer (")
    assert line.count("\n") == 1


async def test_not_alive_behind_another_server() -> None:
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
def test_says_why_it_cannot_check(port: str, alive: bool, begins: str) -> None:
    result, line = check({"VOICE_RELAY_OPS_PORT": port})
    assert result is alive
    assert line.startswith(begins)


def test_defaults_match_settings() -> None:
    """The check does not load the settings, so it repeats their defaults."""
    fields = Settings.model_fields
    _, line = check({"VOICE_RELAY_OPS_HOST": "", "VOICE_RELAY_OPS_PORT": "1"})
    assert f"http://{fields['ops_host'].default}:1/" in line
    assert str(fields["ops_port"].default) == DEFAULT_PORT
