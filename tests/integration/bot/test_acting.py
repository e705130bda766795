"""A running relay that acts: its worker, what it knows of people, its readiness and its end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import orjson
import pytest
from aiohttp import web
from botocore.credentials import ReadOnlyCredentials

from bot.api.target import FixedCredentials, Target
from bot.app import open_relay
from bot.relay import Relay
from bot.settings.settings import Settings
from infra.local.discord import Guild, StandIn

ACTIVITY = "arn:aws:states:us-east-1:123456789012:activity:relay-actions"
MEMBER = "PATCH /guilds/{guild}/members/{user}"
WAIT_S = 20.0


class StubStates:
    """Step Functions with one activity: polls wait for ``tasks``, and ``reports`` keeps what comes back."""

    def __init__(self) -> None:
        self.tasks: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.reports: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        self.polls = 0
        self.refuses = False
        self._runner = web.ServerRunner(web.Server(self._handle))
        self.url = ""

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for _ in range(self.polls):
            self.tasks.put_nowait({})
        await self._runner.cleanup()

    def ask(self, action: str, **given: Any) -> None:
        task = {"action": action, "key": "01JD0000000000000000000000:act", **given}
        self.tasks.put_nowait({"taskToken": action, "input": orjson.dumps(task).decode()})

    async def report(self) -> tuple[str, dict[str, Any]]:
        async with asyncio.timeout(WAIT_S):
            return await self.reports.get()

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        body = orjson.loads(await request.read())
        call = request.headers["x-amz-target"].removeprefix("AWSStepFunctions.")
        if self.refuses:
            return web.json_response({"__type": "AccessDeniedException", "message": "no"}, status=400)
        if call == "GetActivityTask":
            assert body["activityArn"] == ACTIVITY
            self.polls += 1
            return web.json_response(await self.tasks.get())
        self.reports.put_nowait((call, body))
        return web.json_response({})


@pytest.fixture
async def states() -> AsyncIterator[StubStates]:
    async with StubStates() as states:
        yield states


@pytest.fixture
async def standin() -> AsyncIterator[StandIn]:
    async with StandIn() as standin:
        yield standin


@pytest.fixture
def base(standin: StandIn) -> Guild:
    return standin.world.add_guild("Base")


@asynccontextmanager
async def acting(
    directory: Path, standin: StandIn, states: StubStates, **settings: Any
) -> AsyncIterator[tuple[Relay, asyncio.Event]]:
    """Run a relay that may move and find people; it is stopped after the block, or by the event."""
    values = {
        "discord_token": standin.token,
        "discord_api_url": standin.api_url,
        "api_endpoint": "https://api.invalid",
        "data_dir": directory,
        "ops_port": None,
        "heartbeat_s": 0,
        "actions": ("find_person", "list_channel", "move"),
        "activity_arn": ACTIVITY,
        **settings,
    }
    key = ReadOnlyCredentials("AKIA0000000000000000", "secret", None)
    target = Target("https://api.invalid", "us-east-1", FixedCredentials(key), states_url=states.url)
    stop = asyncio.Event()
    async with open_relay(Settings(_env_file=None, **values), target) as relay:
        running = asyncio.create_task(relay.run(stop))
        try:
            await standin.wait_connected(WAIT_S)
            yield relay, stop
        finally:
            stop.set()
            await running


async def test_knows_where_people_are(
    tmp_path: Path, standin: StandIn, base: Guild, states: StubStates
) -> None:
    lounge, nelly = base.add_voice_channel("Lounge"), base.add_member("nelly")
    await base.join(nelly, lounge)
    async with acting(tmp_path, standin, states) as (relay, _):
        states.ask("find_person", guild_id=base.id, user_id=nelly.id)
        call, report = await states.report()

        assert (call, report["taskToken"]) == ("SendTaskSuccess", "find_person")
        assert orjson.loads(report["output"]) == {"channel_id": lounge.id}
        assert relay.metrics()["actions_done_total"] == 1
        assert relay.not_ready() == []


async def test_does_not_answer_from_the_past(
    tmp_path: Path, standin: StandIn, base: Guild, states: StubStates
) -> None:
    """What a session missed is told when it is resumed; until then the relay knows the past."""
    lounge, nelly = base.add_voice_channel("Lounge"), base.add_member("nelly")
    await base.join(nelly, lounge)
    async with acting(tmp_path, standin, states) as (relay, _):
        await standin.faults.refuse_connections()
        await standin.faults.drop()
        async with asyncio.timeout(WAIT_S):
            while not relay.not_ready():  # noqa: ASYNC110  # there is no event to wait for
                await asyncio.sleep(0.01)
        await base.leave(nelly)
        states.ask("find_person", guild_id=base.id, user_id=nelly.id)
        _, found = await states.report()
        states.ask("list_channel", guild_id=base.id, channel_id=lounge.id)
        await asyncio.sleep(0.5)
        assert states.reports.empty()

        await standin.faults.accept_connections()
        _, listed = await states.report()

    assert orjson.loads(found["output"]) == {"channel_id": None}
    assert orjson.loads(listed["output"]) == {"user_ids": []}


async def test_does_only_what_settings_allow(
    tmp_path: Path, standin: StandIn, base: Guild, states: StubStates
) -> None:
    async with acting(tmp_path, standin, states) as (relay, _):
        states.ask("mute", guild_id=base.id, user_id="1", on=True)
        call, report = await states.report()

        assert (call, report["error"]) == ("SendTaskFailure", "Action.NotAllowed")
        assert relay.metrics()["actions_refused_total"] == 1
    assert standin.door.calls == []


async def test_stop_lets_action_finish(
    tmp_path: Path, standin: StandIn, base: Guild, states: StubStates
) -> None:
    lounge, nelly = base.add_voice_channel("Lounge"), base.add_member("nelly")
    await base.join(nelly, base.add_voice_channel("Waiting room"))
    held = standin.faults.hold_route(MEMBER)
    async with acting(tmp_path, standin, states) as (_, stop):
        states.ask("move", guild_id=base.id, user_id=nelly.id, channel_id=lounge.id)
        async with asyncio.timeout(WAIT_S):
            await held.reached.wait()
        stop.set()
        await standin.wait_disconnected(WAIT_S)
        # A poll that is still out would bring it.
        states.ask("find_person", guild_id=base.id, user_id=nelly.id)
        await asyncio.sleep(0.2)
        held.go_on.set()
        call, report = await states.report()

        assert (call, report["taskToken"]) == ("SendTaskSuccess", "move")
    assert base.people_in(lounge) == [nelly]
    assert states.reports.empty()


async def test_refused_polls_make_unready(
    tmp_path: Path, standin: StandIn, base: Guild, states: StubStates
) -> None:
    states.refuses = True
    async with acting(tmp_path, standin, states) as (relay, _):

        def troubles() -> list[str]:
            return [reason for reason in relay.not_ready() if "cannot take actions from AWS" in reason]

        async with asyncio.timeout(WAIT_S):
            while not troubles():  # noqa: ASYNC110  # there is no event to wait for
                await asyncio.sleep(0.01)
        (reason,) = troubles()

    assert "AccessDeniedException" in reason
    assert "with the stack's parameter Actions on" in reason


async def test_without_actions_aws_is_left_alone(
    tmp_path: Path, standin: StandIn, base: Guild, states: StubStates
) -> None:
    async with acting(tmp_path, standin, states, actions=()) as (relay, _):
        assert "actions_running" not in relay.metrics()

    assert states.polls == 0
