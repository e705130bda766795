"""Another API is told what people do: the real program and discord.py, the templates with their roles."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pydantic
import pytest

from infra.deploy.connection_stack import deploy_connection
from infra.deploy.engine import DEFAULT_STACK_NAME, DeployOptions
from infra.deploy.workflow_stack import deploy_workflow, load_workflow
from infra.local.discord import StandIn
from infra.local.machine import SingleMachine, single_machine
from infra.local.third_party import ThirdParty
from tests.e2e.test_executions import environment_of
from tests.e2e.test_redrive import Ask, ask_until, has_letters
from tests.e2e.test_redrive import ask as ask
from tests.support.crowd import add_guilds, first_channel, people_of
from tests.support.output import TOKEN, check_output
from tests.support.process import Child, start_relay

RULES = """\
[[rule]]
types = ["joined", "left"]
workflow = "report"

[rule.parameters]
format = "flat"
"""
_HOW = DeployOptions(poll_s=0.02)


@pytest.fixture
async def party() -> AsyncIterator[ThirdParty]:
    async with ThirdParty() as party:
        yield party


def _deploy_report(machine: SingleMachine, party: ThirdParty) -> None:
    accounts = party.accounts
    given = {"username": accounts.user, "password": accounts.password}
    deploy_connection(
        machine.aws.client,
        stack_name=f"{DEFAULT_STACK_NAME}-crm",
        parameters={
            "Url": f"{party.url}/api/events",
            "Auth": "login",
            "TokenUrl": f"{party.url}/login",
        },
        find=lambda _: {name: pydantic.SecretStr(value) for name, value in given.items()},
        options=_HOW,
    )
    report = replace(load_workflow("report"), connection="crm")
    deploy_workflow(machine.aws.client, report, relay_stack=DEFAULT_STACK_NAME, options=_HOW)


@asynccontextmanager
async def reporting(directory: Path, standin: StandIn, party: ThirdParty) -> AsyncIterator[Child]:
    """Run the relay beside an embedded AWS that has the relay's stack, a connection and ``report``."""
    webhook = standin.add_webhook("voice")
    (directory / "rules.toml").write_text(RULES)
    async with single_machine(webhook_url=pydantic.SecretStr(webhook.url), wait_scale=0.1) as machine:
        await asyncio.to_thread(_deploy_report, machine, party)
        async with start_relay(
            directory,
            discord_api_url=standin.api_url,
            token=TOKEN,
            api_endpoint=machine.api_endpoint,
            credentials=environment_of(machine.credentials),
            settings={"RULES_FILE": str(directory / "rules.toml"), "WORKFLOWS": "report"},
        ) as relay:
            await relay.wait_ready()
            yield relay
    check_output(relay, [webhook.token, *party.accounts.secrets])


async def _told(party: ThirdParty, count: int) -> list[str]:
    """Wait until the API was told so much, and return the types of what it was told."""
    return [event["type"] for event in await party.wait_told(count)]


async def test_comings_and_goings_are_reported(standin: StandIn, party: ThirdParty, tmp_path: Path) -> None:
    """In order and once, though the token expires between them."""
    (guild,) = add_guilds(standin, 1)
    member, channel = people_of(guild)[0], first_channel(guild)

    async with reporting(tmp_path, standin, party):
        await guild.join(member, channel)
        await _told(party, 1)
        party.accounts.expire_tokens()
        party.throttle_next(1, retry_after_s=1)
        await guild.leave(member)

        assert await _told(party, 2) == ["discord.voice.joined", "discord.voice.left"]

    assert all(key == event["id"] for key, event in party.told.items())
    assert {event["user_id"] for event in party.told.values()} == {member.id}
    assert party.accounts.logins == 2


async def test_refused_report_is_dead_letter(
    standin: StandIn, party: ThirdParty, tmp_path: Path, ask: Ask
) -> None:
    """With the API's own words as its reason; redriven, it is reported after all."""
    (guild,) = add_guilds(standin, 1)
    party.answer_next(422, {"error": "no such list"})

    async with reporting(tmp_path, standin, party):
        await guild.join(people_of(guild)[0], first_channel(guild))
        await ask_until(ask, has_letters(1), "outbox", "status")
        (letter,) = (await ask("outbox", "list"))["dead_letters"]
        assert "States.Http.StatusCode.422" in letter["reason"]
        assert "no such list" in letter["reason"]
        assert party.told == {}

        assert (await ask("outbox", "redrive", "--all"))["marked"] == 1
        assert await _told(party, 1) == ["discord.voice.joined"]

    assert list(party.told) == [letter["event_id"]]
