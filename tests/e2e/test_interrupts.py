"""Ctrl-C while a command asks or waits, with a note on what continues, and signals while the relay starts."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from tests.e2e.terminal import at_terminal
from tests.support.ingress import ARN, StubIngress
from tests.support.process import CREDENTIALS, Child, start_relay
from tests.support.process_tree import find_descendants, has_proc, wait_until_all_ended

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX terminals")

EXECUTION = f"{ARN}n"


@pytest.fixture
async def api() -> AsyncIterator[StubIngress]:
    async with StubIngress() as api:
        yield api


def environment(api: StubIngress) -> dict[str, str]:
    return {"VOICE_RELAY_API_ENDPOINT": api.endpoint, **CREDENTIALS}


async def runs(_: web.BaseRequest) -> web.Response:
    about = {
        "executionArn": EXECUTION,
        "name": "n",
        "status": "RUNNING",
        "startDate": "2026-11-21T07:00:00Z",
        "input": "{}",
    }
    answer = {"status": "SUCCEEDED", "output": orjson.dumps(about).decode()}
    return web.json_response(answer)


async def starts(_: web.BaseRequest) -> None:
    """Leave it to the API."""


async def test_interrupts_question(api: StubIngress, tmp_path: Path) -> None:
    async with at_terminal("stop", EXECUTION, directory=tmp_path, environment=environment(api)) as terminal:
        await terminal.wait_for("[y/N]")
        assert await terminal.press_ctrl_c() == 130
    assert "voice-relay: nothing was stopped" in terminal.shown
    assert api.requests == 0


async def test_interrupts_waiting(api: StubIngress, tmp_path: Path) -> None:
    """The hint about waiting appears once, with the start of the execution."""
    api.answers.extend([runs] * 1000)
    async with at_terminal(
        "status", "--wait", EXECUTION, directory=tmp_path, environment=environment(api)
    ) as terminal:
        await terminal.wait_for("waiting for it to end")
        # The third request shows that the second answer has been read.
        async with asyncio.timeout(30):
            while api.requests < 3:
                api.changed.clear()
                await api.changed.wait()
        assert await terminal.press_ctrl_c() == 130
    assert terminal.shown.count("n is RUNNING, started 2026-11-21 ") == 1
    assert f"the execution continues; to ask again: voice-relay status --wait {EXECUTION}" in terminal.shown
    assert "Traceback" not in terminal.shown


async def test_interrupts_following(api: StubIngress, tmp_path: Path) -> None:
    """The execution is named long before its end."""
    api.answers.extend([starts, *[runs] * 1000])
    async with at_terminal(
        "send-test", "--wait", directory=tmp_path, environment=environment(api)
    ) as terminal:
        await terminal.wait_for("  accepted in ")
        assert await terminal.press_ctrl_c() == 130
    (name,) = api.executions
    assert f"execution  {ARN}{name}\r\n" in terminal.shown
    assert f"to ask again: voice-relay status --wait {ARN}{name}" in terminal.shown
    assert "Traceback" not in terminal.shown


@asynccontextmanager
async def starting(directory: Path) -> AsyncIterator[tuple[Child, set[int]]]:
    """The relay while the embedded AWS starts, and the processes that it has started by then."""
    settings = {"WEBHOOK_URL": "http://127.0.0.1:9/api/webhooks/1/token"}
    async with start_relay(directory, discord_api_url="http://127.0.0.1:9", settings=settings) as relay:
        await relay.wait_for_log("single_machine_starting")
        async with asyncio.timeout(30):
            while not (children := find_descendants(relay.pid)):
                relay.check_alive()
                await asyncio.sleep(0)
        yield relay, children
        await wait_until_all_ended(children)


@pytest.mark.skipif(not has_proc(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_interrupts_start(tmp_path: Path, number: signal.Signals) -> None:
    """Nothing has begun yet, so there is nothing to stop in order; the embedded AWS ends too."""
    async with starting(tmp_path) as (relay, _):
        relay.send_signal(number)
        assert await relay.wait() == 130
    assert [line["event"] for line in relay.log()] == ["settings_read", "single_machine_starting"]
    assert relay.stderr == ""


@pytest.mark.skipif(not has_proc(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_second_signal_ends_start(tmp_path: Path, number: signal.Signals) -> None:
    """At once and quietly: the embedded AWS takes longer to start than signals take to follow each other."""
    async with starting(tmp_path) as (relay, _):
        async with asyncio.timeout(30):
            while relay.exit_code is None:
                relay.send_signal(number)
                await asyncio.sleep(0.02)
        assert relay.exit_code == 128 + number
    assert [line["event"] for line in relay.log()] == ["settings_read", "single_machine_starting"]
    assert relay.stderr == ""
