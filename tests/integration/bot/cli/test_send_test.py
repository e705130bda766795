"""``send-test --wait`` where the end does not come in time."""

import orjson
import pytest
from aiohttp import web

from bot.cli.send_test import Options, send_test
from tests.integration.bot.cli.answers import target
from tests.support.consoles import RecordingConsole
from tests.support.ingress import ARN, StubIngress


@pytest.fixture(autouse=True)
def _runs_on(api: StubIngress) -> None:
    api.answers.extend([starts, *[runs] * 100])


async def starts(_: web.BaseRequest) -> None:
    """Leave it to the API."""


async def runs(_: web.BaseRequest) -> web.Response:
    about = {"executionArn": f"{ARN}n", "name": "n", "status": "RUNNING", "startDate": 1.7952444e9}
    return web.json_response({"status": "SUCCEEDED", "output": orjson.dumps(about).decode()})


@pytest.mark.parametrize("deployed", [True, False])
async def test_timeout_suggests_asking_again(api: StubIngress, deployed: bool) -> None:
    """If the execution outlives the command; what is known by then is printed in one column."""
    console = RecordingConsole()
    options = Options(wait=True, timeout_s=2)
    assert await send_test(options, target(api), console, deployed=deployed) == 1
    (name,) = api.executions
    remedy = f"; to ask again: voice-relay status --wait {ARN}{name}"
    if not deployed:
        remedy = "; the webhook (VOICE_RELAY_WEBHOOK_URL) may be unreachable from this machine"
    assert console.hints == [f"voice-relay: the execution was still running after 2 s{remedy}"]
    assert [line.split()[0] for line in console.lines] == ["execution", "request", "started"]
    assert {line[9:11] for line in console.lines} == {"  "}
    assert all(line[11] != " " for line in console.lines)


async def test_event_is_what_was_asked_for(api: StubIngress) -> None:
    options = Options(guild_id="5", channel_id="6", user_id="7", destination="raid")
    console = RecordingConsole()
    assert await send_test(options, target(api), console) == 0
    (name,) = api.executions
    assert console.lines == [f"{ARN}{name}"]
    (event,) = api.events()
    assert (event["type"], event["subject"]) == ("discord.voice.joined", "users/7")
    assert (event["data"]["guild"]["id"], event["data"]["channel"]["id"]) == ("5", "6")
