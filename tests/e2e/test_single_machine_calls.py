"""Calls of another API on one machine: the real program connects ``report`` to what its settings name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from infra.local.discord import StandIn
from infra.local.discord.guild import Guild
from infra.local.third_party import ThirdParty
from tests.e2e.test_redrive import Ask, ask_until, has_letters
from tests.e2e.test_redrive import ask as ask
from tests.e2e.test_report import RULES
from tests.e2e.test_report import party as party
from tests.e2e.test_single_machine import running, stop
from tests.support.crowd import add_guilds, first_channel, people_of
from tests.support.output import check_output, wait_for_text
from tests.support.process import Child, start_relay

PLANTED = "planted-wrong-password"
ALSO_POSTED = '[[rule]]\ntypes = ["joined"]\nworkflow = "notify"\ncontinue = true\n' + RULES


def _login(party: ThirdParty, password: str) -> str:
    return (
        f'auth = "login"\nurl = "{party.url}/api/events"\ntoken_url = "{party.url}/login"\n'
        f'username = "{party.accounts.user}"\npassword = "{password}"\n'
    )


def _oauth(party: ThirdParty, secret: str) -> str:
    return (
        f'auth = "oauth"\nurl = "{party.url}/api/events"\ntoken_url = "{party.url}/oauth/token"\n'
        f'client_id = "{party.accounts.client_id}"\nclient_secret = "{secret}"\n'
    )


@asynccontextmanager
async def calling(
    directory: Path, standin: StandIn, party: ThirdParty, table: str, *, rules: str = RULES
) -> AsyncIterator[Child]:
    """Run the relay with this table for ``report``; at its end, check that no secret was printed."""
    (directory / "rules.toml").write_text(rules)
    connections = directory / "connections.toml"
    connections.touch(mode=0o600)
    connections.write_text(f"[report]\n{table}")
    webhook = standin.add_webhook("voice")
    settings = {"RULES_FILE": "rules.toml", "CONNECTIONS_FILE": "connections.toml", "LOG_LEVEL": "debug"}
    async with running(directory, standin, webhook.url, **settings) as relay:
        yield relay
        await stop(relay)
    check_output(relay, [webhook.token, PLANTED, *party.accounts.secrets])


async def _come_and_go(guild: Guild) -> None:
    member = people_of(guild)[0]
    await guild.join(member, first_channel(guild))
    await guild.leave(member)


async def _told(party: ThirdParty, count: int) -> list[str]:
    return [event["type"] for event in await party.wait_told(count)]


@pytest.mark.parametrize("auth", ["none", "api-key", "basic", "oauth"])
async def test_reports_through_its_table(
    standin: StandIn, party: ThirdParty, tmp_path: Path, auth: str
) -> None:
    """In order and once, whatever the API asks of its callers."""
    (guild,) = add_guilds(standin, 1)
    accounts = party.accounts
    table = {
        "none": f'auth = "none"\nurl = "{party.url}/hooks/events"\n',
        "api-key": f'auth = "api-key"\nurl = "{party.url}/api/events"\nkey_header = "X-Api-Key"\n'
        f'key = "{accounts.api_key}"\n',
        "basic": f'auth = "basic"\nurl = "{party.url}/api/events"\n'
        f'username = "{accounts.user}"\npassword = "{accounts.password}"\n',
        "oauth": _oauth(party, accounts.client_secret),
    }[auth]

    async with calling(tmp_path, standin, party, table):
        await _come_and_go(guild)

        assert await _told(party, 2) == ["discord.voice.joined", "discord.voice.left"]
    assert set(party.statuses) == {200}


async def test_renews_token_of_login(standin: StandIn, party: ThirdParty, tmp_path: Path) -> None:
    """The first login is the relay's own at its start; that of an expired token is the workflow's."""
    (guild,) = add_guilds(standin, 1)

    async with calling(tmp_path, standin, party, _login(party, party.accounts.password)) as relay:
        (line,) = await relay.wait_for_log("api_login_worked")
        assert line["workflow"] == "report"
        assert party.accounts.logins == 1
        party.accounts.expire_tokens()
        await _come_and_go(guild)

        assert await _told(party, 2) == ["discord.voice.joined", "discord.voice.left"]
    assert party.accounts.logins == 2


async def test_wrong_password_stops_nothing_else(
    standin: StandIn, party: ThirdParty, tmp_path: Path, ask: Ask
) -> None:
    """A line at the start says so; other workflows run, and what the API was not told is a dead letter."""
    (guild,) = add_guilds(standin, 1)

    async with calling(tmp_path, standin, party, _login(party, PLANTED), rules=ALSO_POSTED) as relay:
        (line,) = await relay.wait_for_log("api_login_failed")
        assert "States.Http.StatusCode.401" in line["reason"]
        assert "[report] in the file VOICE_RELAY_CONNECTIONS_FILE" in line["next"]
        await guild.join(people_of(guild)[0], first_channel(guild))
        await standin.wait_for_messages(bool, 30)
        await ask_until(ask, has_letters(1), "outbox", "status")
    assert relay.log("api_login_failed") == [line]
    assert party.told == {}


async def test_log_masks_key_in_refusal(standin: StandIn, party: ThirdParty, tmp_path: Path) -> None:
    """An API may repeat the key in what it refuses, and the log says what it refused."""
    (guild,) = add_guilds(standin, 1)
    key = party.accounts.api_key
    party.answer_next(422, {"error": f"{key} is no list"})
    table = f'auth = "api-key"\nurl = "{party.url}/api/events"\nkey_header = "X-Api-Key"\nkey = "{key}"\n'

    async with calling(tmp_path, standin, party, table) as relay:
        await guild.join(people_of(guild)[0], first_channel(guild))
        output = await wait_for_text(relay, " is no list")
    assert key not in output


async def test_refused_client_leaves_events_waiting(
    standin: StandIn, party: ThirdParty, tmp_path: Path
) -> None:
    """OAuth needs its token when the connection is made; the next relay, with the right secret, reports."""
    (guild,) = add_guilds(standin, 1)

    async with calling(tmp_path, standin, party, _oauth(party, PLANTED), rules=ALSO_POSTED) as relay:
        (line,) = await relay.wait_for_log("api_not_connected")
        assert line["workflow"] == "report"
        assert "[report] in the file VOICE_RELAY_CONNECTIONS_FILE" in line["next"]
        await guild.join(people_of(guild)[0], first_channel(guild))
        await standin.wait_for_messages(bool, 30)
        await relay.wait_for_log("batch_retried_later")

    async with calling(tmp_path, standin, party, _oauth(party, party.accounts.client_secret)):
        assert await _told(party, 1) == ["discord.voice.joined"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "the workflow report calls another API: say which, and how, in a table [report] of the file"),
        (
            {"CONNECTIONS_FILE": "connections.toml"},
            "connections.toml: [report]: password is missing: login takes username and password",
        ),
        (
            {"CONNECTIONS_FILE": "insecure.toml"},
            "insecure.toml: [report]: url must be an https URL",
        ),
    ],
)
async def test_refuses_start_without_connection(
    standin: StandIn, tmp_path: Path, settings: dict[str, str], sentence: str
) -> None:
    """In one line that names the setting, and no credential."""
    (tmp_path / "rules.toml").write_text(RULES)
    url = '[report]\nauth = "login"\nurl = "https://crm.example.org"\ntoken_url = "https://crm.example.org"\n'
    (tmp_path / "connections.toml").write_text(url + 'username = "relay"\n')
    insecure = (
        f'[report]\nauth = "basic"\nurl = "http://crm.example.org"\nusername = "u"\npassword = "{PLANTED}"\n'
    )
    (tmp_path / "insecure.toml").write_text(insecure)
    async with start_relay(
        tmp_path,
        discord_api_url=standin.api_url,
        token=standin.token,
        credentials={},
        settings={"WEBHOOK_URL": standin.add_webhook("voice").url, "RULES_FILE": "rules.toml", **settings},
    ) as relay:
        assert await relay.wait() != 0
        await wait_for_text(relay, sentence)
    check_output(relay, [PLANTED])
