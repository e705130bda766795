"""Redrive, parking and trace beside a running relay: events are found, then delivered once or dropped."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from bot.voice.events import EVENT
from infra.local.discord import Guild, Member, StandIn
from tests.support.crowd import UNFOLLOWED, add_guilds, wander
from tests.support.ingress import StubIngress
from tests.support.output import TOKEN, check_output
from tests.support.process import Child, start_child, start_relay

REASON = "the API answered 400 InvalidExecutionInput: no such thing"
STEPS = 1000

Ask = Callable[..., Awaitable[Any]]


def refusal() -> web.Response:
    answer = {"__type": "com.amazonaws.states#InvalidExecutionInput", "message": "no such thing"}
    return web.json_response(answer, status=400)


async def refuse(_: web.BaseRequest) -> web.StreamResponse:
    return refusal()


@asynccontextmanager
async def relaying(
    directory: Path, standin: StandIn, api: StubIngress, **settings: str
) -> AsyncIterator[Child]:
    async with start_relay(
        directory,
        discord_api_url=standin.api_url,
        token=TOKEN,
        api_endpoint=api.endpoint,
        settings=settings,
    ) as relay:
        await relay.wait_ready()
        yield relay
    check_output(relay)


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Run a command in its own process, with DATA_DIR as its only setting, and return its JSON."""

    async def ask(*arguments: str, exit_code: int = 0) -> Any:
        settings = {"VOICE_RELAY_DATA_DIR": "data"}
        command = ["-m", "bot.cli", *arguments, "--json"]
        async with start_child(command, tmp_path, settings) as child:
            assert await child.wait() == exit_code, child.stderr
        check_output(child)
        return orjson.loads(child.stdout)

    return ask


def is_delivered(trace: Any) -> bool:
    return [place["state"] for place in trace["places"]] == ["delivered"]


def has_letters(count: int) -> Callable[[Any], bool]:
    return lambda status: bool(status["dead_letters"] == count)


async def ask_until(ask: Ask, condition: Callable[[Any], bool], *arguments: str) -> Any:
    async with asyncio.timeout(30):
        while not condition(answer := await ask(*arguments)):
            pass  # starting the process paces the loop
    return answer


def people_of(guild: Guild) -> list[Member]:
    return [member for member in guild.members.values() if not member.user.bot]


async def bury(guild: Guild, api: StubIngress, ask: Ask, count: int) -> list[dict[str, Any]]:
    """Let *count* people join, refuse each event, and return the dead letters."""
    channel = next(iter(guild.channels.values()))
    for number, member in enumerate(people_of(guild)[:count], start=1):
        api.answers.append(refuse)
        await guild.join(member, channel)
        await ask_until(ask, has_letters(number), "outbox", "status")
    letters: list[dict[str, Any]] = (await ask("outbox", "list"))["dead_letters"]
    return letters


async def test_redrives_dead_letter_once(
    standin: StandIn, api: StubIngress, tmp_path: Path, ask: Ask
) -> None:
    (guild,) = add_guilds(standin, 1)
    async with relaying(tmp_path, standin, api) as relay:
        (letter,) = await bury(guild, api, ask, 1)
        event_id = letter["event_id"]
        assert (letter["reason"], letter["guild_id"]) == (REASON, guild.id)
        (shown,) = (await ask("outbox", "show", event_id))["dead_letters"]
        # What `rules check --event` takes.
        assert EVENT.validate_python(shown["event"])["id"] == event_id
        (place,) = (await ask("trace", event_id))["places"]
        assert (place["state"], place["reason"]) == ("dead", REASON)
        assert api.events() == []

        assert (await ask("outbox", "redrive", "--all"))["marked"] == 1
        await api.wait_for_events(1, 20)
        trace = await ask_until(ask, is_delivered, "trace", event_id)
        (place,) = trace["places"]
        (execution,) = api.executions
        assert place["execution"] == execution != letter["execution"]
        assert place["execution_arn"].endswith(execution)
        assert (await ask("outbox", "redrive", "--all"))["marked"] == 0
        assert (await ask("outbox", "redrive", str(letter["id"]), exit_code=1))["unknown"] == [
            str(letter["id"])
        ]

        await guild.leave(people_of(guild)[0])
        await api.wait_for_events(2)
        relay.terminate()
        assert await relay.wait() == 0
    assert [event["type"] for event in api.events()] == ["discord.voice.joined", "discord.voice.left"]
    assert api.events()[0] == letter["event"]
    assert api.repeats == 0


async def test_redrive_waits_for_next_relay(
    standin: StandIn, api: StubIngress, tmp_path: Path, ask: Ask
) -> None:
    (guild,) = add_guilds(standin, 1)
    async with relaying(tmp_path, standin, api) as relay:
        dropped, kept = await bury(guild, api, ask, 2)
        assert (await ask("outbox", "drop", str(dropped["id"]), "--yes"))["dropped"] == 1
        relay.terminate()
        assert await relay.wait() == 0
    assert (await ask("outbox", "redrive", kept["event_id"]))["marked"] == 1
    assert (await ask("outbox", "status"))["dead_letters_to_redrive"] == 1
    await ask("trace", dropped["event_id"], exit_code=1)
    async with relaying(tmp_path, standin, api) as relay:
        await ask_until(ask, is_delivered, "trace", kept["event_id"])
        relay.terminate()
        assert await relay.wait() == 0
    ids = [event["id"] for event in api.events()]
    assert (ids.count(kept["event_id"]), ids.count(dropped["event_id"])) == (1, 0)


async def test_parks_and_drops_lane(standin: StandIn, api: StubIngress, tmp_path: Path, ask: Ask) -> None:
    """What gathered is sent in order after the release; what was dropped is not, by the next relay either."""
    (guild,) = add_guilds(standin, 1)
    first, *others, last = people_of(guild)[:5]
    channel = next(iter(guild.channels.values()))
    async with relaying(tmp_path, standin, api) as relay:
        await guild.join(first, channel)
        await api.wait_for_events(1, 20)
        assert (await ask("outbox", "park", "notify"))["parked"] == 1
        await relay.wait_for_log("lane_parked")
        for member in others:
            await guild.join(member, channel)
        await ask_until(ask, lambda status: status["parked"] == len(others), "outbox", "status")
        assert api.event_count == 1
        assert (await ask("outbox", "release", "notify", "--guild", guild.id))["released"] == 1
        await api.wait_for_events(1 + len(others), 20)

        await ask("outbox", "park", "notify")
        await relay.wait_for_log("lane_parked", count=2)
        await guild.leave(first)
        await ask_until(ask, lambda status: status["parked"] == 1, "outbox", "status")
        assert (await ask("outbox", "drop-lane", "notify", "--yes"))["events"] == 1
        await ask_until(ask, lambda status: status["waiting"] == 0, "outbox", "status")
        (dropped,) = relay.log("lane_dropped")
        assert (dropped["workflow"], dropped["events"]) == ("notify", 1)
        await guild.leave(others[0])
        await ask_until(ask, lambda status: status["parked"] == 1, "outbox", "status")
        relay.terminate()
        assert await relay.wait() == 0
    assert (await ask("outbox", "drop-lane", "notify", "--yes"))["events"] == 1
    await ask("outbox", "release", "notify")
    async with relaying(tmp_path, standin, api) as relay:
        await guild.join(last, channel)
        await api.wait_for_events(2 + len(others), 20)
        relay.terminate()
        assert await relay.wait() == 0
    told = [event["subject"] for event in api.events()]
    assert told == [f"users/{member.id}" for member in (first, *others, last)]
    assert {event["type"] for event in api.events()} == {"discord.voice.joined"}


class Choosy(StubIngress):
    """Refuses some events, each until it has come in a batch of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()

    def accept(self, name: str, body: bytes) -> web.Response:
        ids = [event["id"] for event in orjson.loads(body)["events"]]
        if any(event_id.endswith("7") and event_id not in self.refused for event_id in ids):
            if len(ids) == 1:
                self.refused.update(ids)
            return refusal()
        return super().accept(name, body)


async def test_commands_work_during_burst(standin: StandIn, tmp_path: Path, ask: Ask) -> None:
    """Refused events are marked at once, and in the end everything has arrived exactly once."""
    guilds = add_guilds(standin, 4)
    (tmp_path / "rules.toml").write_text(UNFOLLOWED)
    async with Choosy() as api, relaying(tmp_path, standin, api, RULES_FILE="rules.toml") as relay:
        async with asyncio.TaskGroup() as tasks:
            bursts = [
                tasks.create_task(wander(guild, STEPS, random.Random(number)))
                for number, guild in enumerate(guilds)
            ]
            asked = 0
            while asked < 4 or not all(burst.done() for burst in bursts):
                await ask("outbox", "status")
                await ask("outbox", "list", "--waiting")
                await ask("outbox", "redrive", "--all")
                asked += 1
        await ask_until(ask, lambda marks: api.event_count >= len(standin.sent), "outbox", "redrive", "--all")
        relay.terminate()
        assert await relay.wait() == 0
        assert relay.log("outbox_commit_failed") == []
    assert api.refused
    ids = [event["id"] for event in api.events()]
    assert len(ids) == len(set(ids)) == len(standin.sent)
    assert api.refused <= set(ids)
