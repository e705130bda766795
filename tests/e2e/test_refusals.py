"""What keeps the relay from its work: one helpful sentence and the documented exit code, or a logged retry.

At the debug level and as text, where the log shows most.
"""

import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

import infra.local.discord.gateway
from bot.outbox.database import FILE_NAME
from infra.local.discord import StandIn
from tests.support.crowd import add_guilds, join_one
from tests.support.ingress import StubIngress
from tests.support.ledger import Ledger
from tests.support.output import TOKEN, WEBHOOK_TOKEN, check_output, read_output, wait_for_text
from tests.support.process import CREDENTIALS, Child, start_relay

DEBUG = {"LOG_FORMAT": "text", "LOG_LEVEL": "debug"}
WEBHOOK_URL = f"https://discord.com/api/webhooks/4171983423143937/{WEBHOOK_TOKEN}"
NO_REGION = {name: value for name, value in CREDENTIALS.items() if name != "AWS_DEFAULT_REGION"}


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections while the test lasts: bound, but not listening."""
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def busy_port() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield listening.getsockname()[1]


@asynccontextmanager
async def relaying(
    directory: Path,
    discord_api_url: str,
    api_endpoint: str | None,
    *,
    settings: Mapping[str, str] | None = None,
    token: str = TOKEN,
    credentials: Mapping[str, str] = CREDENTIALS,
) -> AsyncIterator[Child]:
    async with start_relay(
        directory,
        discord_api_url=discord_api_url,
        token=token,
        api_endpoint=api_endpoint,
        credentials=credentials,
        settings={**DEBUG, **(settings or {})},
    ) as relay:
        yield relay
    check_output(relay, [token] if token else [])


def _file_in_the_way(directory: Path) -> None:
    (directory / "data").write_text("a file, not a directory")


def _newer_schema(directory: Path) -> None:
    (directory / "data").mkdir()
    with closing(sqlite3.connect(directory / "data" / FILE_NAME)) as db:
        db.execute("PRAGMA user_version = 999")


def _directory_in_the_files_place(directory: Path) -> None:
    (directory / "data" / FILE_NAME).mkdir(parents=True)


def _rules_with_a_mistake(directory: Path) -> None:
    (directory / "rules.toml").write_text('[[rule]]\ntypes = ["jumped"]\n')


def _rules_for_a_stack(directory: Path) -> None:
    (directory / "rules.toml").write_text('[[rule]]\nworkflow = "audit"\n')


@dataclass(frozen=True)
class Refusal:
    """A start that must fail: the exit code, and words that the message must have."""

    exit_code: int
    words: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Path], None] | None = None
    endpoint: str | None = "https://abc123.execute-api.eu-central-1.amazonaws.com"
    token: str = TOKEN
    credentials: Mapping[str, str] = field(default_factory=lambda: CREDENTIALS)


REFUSALS = {
    "a token that Discord refuses": Refusal(
        2, ("VOICE_RELAY_DISCORD_TOKEN", "refuses", "developer portal"), token=TOKEN[:-4] + "9999"
    ),
    "no token": Refusal(2, ("VOICE_RELAY_DISCORD_TOKEN is not set",), token=""),
    "a token of several words": Refusal(2, ("VOICE_RELAY_DISCORD_TOKEN", "without spaces"), token="a token"),
    "neither endpoint nor webhook": Refusal(
        2, ("VOICE_RELAY_API_ENDPOINT", "VOICE_RELAY_WEBHOOK_URL"), endpoint=None
    ),
    "a webhook in the endpoint's place": Refusal(
        2, ("VOICE_RELAY_API_ENDPOINT must",), endpoint=WEBHOOK_URL + "?a=b"
    ),
    "half-set shards": Refusal(2, ("VOICE_RELAY_SHARD_COUNT", "set both or neither"), {"SHARD_IDS": "0"}),
    "an unknown setting": Refusal(
        2,
        ("VOICE_RELAY_API_ENDPIONT", "did you mean VOICE_RELAY_API_ENDPOINT"),
        {"API_ENDPIONT": WEBHOOK_URL},
    ),
    "several bad settings": Refusal(
        2,
        tuple(
            f"VOICE_RELAY_{name}"
            for name in ("OPS_PORT", "LOG_LEVEL", "SHUTDOWN_GRACE_S", "BATCH_MAX_EVENTS", "WEBHOOK_URL")
        ),
        {
            "OPS_PORT": "99999",
            "LOG_LEVEL": "loud",
            "SHUTDOWN_GRACE_S": "-1",
            "BATCH_MAX_EVENTS": "0",
            "WEBHOOK_URL": f"https://example.com/{WEBHOOK_TOKEN}",
        },
    ),
    "rules that are not there": Refusal(
        2, ("VOICE_RELAY_RULES_FILE", "rules.toml", "No such file"), {"RULES_FILE": "rules.toml"}
    ),
    "rules with a mistake": Refusal(
        2,
        ("VOICE_RELAY_RULES_FILE", "rule 1", "types", "joined"),
        {"RULES_FILE": "rules.toml"},
        _rules_with_a_mistake,
    ),
    "rules with a mistake, and a bad setting": Refusal(
        2,
        ("VOICE_RELAY_RULES_FILE: rules.toml", "rule 1", "VOICE_RELAY_LOG_LEVEL"),
        {"RULES_FILE": "rules.toml", "LOG_LEVEL": "loud"},
        _rules_with_a_mistake,
    ),
    "rules for a stack on a single machine": Refusal(
        2,
        ("VOICE_RELAY_RULES_FILE: rules.toml line 2, rule 1: there is no workflow audit",),
        {"RULES_FILE": "rules.toml", "WEBHOOK_URL": WEBHOOK_URL},
        _rules_for_a_stack,
        endpoint=None,
    ),
    "no region": Refusal(
        2, ("VOICE_RELAY_AWS_REGION is not set",), endpoint="http://127.0.0.1:9", credentials=NO_REGION
    ),
    "a file in the data directory's place": Refusal(
        3, ("data directory", "VOICE_RELAY_DATA_DIR"), prepare=_file_in_the_way
    ),
    "a file in the data directory's place, on a single machine": Refusal(
        3, ("data directory",), {"WEBHOOK_URL": WEBHOOK_URL}, _file_in_the_way, endpoint=None
    ),
    "a data directory that cannot be made": Refusal(
        3, ("data directory", "VOICE_RELAY_DATA_DIR"), {"DATA_DIR": "/proc/voice-relay"}
    ),
    "a database of a newer version": Refusal(
        3, ("newer voice-relay", "schema 999", FILE_NAME), prepare=_newer_schema
    ),
    "a directory in the file's place": Refusal(
        3, (FILE_NAME, "is not a file"), prepare=_directory_in_the_files_place
    ),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
async def test_failed_start_says_why(standin: StandIn, tmp_path: Path, refusal: Refusal) -> None:
    if refusal.prepare is not None:
        refusal.prepare(tmp_path)
    async with relaying(
        tmp_path,
        standin.api_url,
        refusal.endpoint,
        settings=refusal.settings,
        token=refusal.token,
        credentials=refusal.credentials,
    ) as relay:
        assert await relay.wait(20) == refusal.exit_code, read_output(relay)
    for word in refusal.words:
        assert word in relay.stderr
    assert not relay.log("single_machine_starting"), "the embedded AWS takes seconds"
    assert all(line.startswith("voice-relay: ") for line in relay.stderr.splitlines())


@pytest.mark.parametrize(
    ("rule", "value", "shards", "word"),
    [
        ("_PRIVILEGED_INTENTS", 1 << 7, 1, "intents"),  # 4014: voice states have become privileged
        ("_KNOWN_INTENTS", 0, 1, "intents"),  # 4013
        ("_KNOWN_INTENTS", (1 << 17) - 1, 2, "VOICE_RELAY_SHARD_COUNT"),  # 4011
    ],
)
async def test_gateway_refusal_ends_relay(
    api: StubIngress,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rule: str,
    value: int,
    shards: int,
    word: str,
) -> None:
    monkeypatch.setattr(infra.local.discord.gateway, rule, value)
    async with (
        StandIn(token=TOKEN, sharding_required=shards) as standin,
        relaying(tmp_path, standin.api_url, api.endpoint) as relay,
    ):
        assert await relay.wait(20) == 1
    (sentence,) = relay.stderr.splitlines()
    assert word in sentence


async def test_busy_ops_port_is_named(
    standin: StandIn, api: StubIngress, tmp_path: Path, busy_port: int
) -> None:
    async with relaying(
        tmp_path, standin.api_url, api.endpoint, settings={"OPS_PORT": str(busy_port)}
    ) as relay:
        assert await relay.wait(20) == 1
    (sentence,) = relay.stderr.splitlines()
    assert str(busy_port) in sentence
    assert "VOICE_RELAY_OPS_PORT" in sentence


async def test_second_relay_is_refused(standin: StandIn, api: StubIngress, tmp_path: Path) -> None:
    (guild,) = add_guilds(standin, 1)
    async with relaying(tmp_path, standin.api_url, api.endpoint) as first:
        await standin.wait_connected(20)
        async with relaying(tmp_path, standin.api_url, api.endpoint) as second:
            assert await second.wait(20) == 3
        assert "another voice-relay is running" in second.stderr
        await join_one(guild)
        await api.wait_for_events(1)
        first.terminate()
        assert await first.wait() == 0


async def test_damaged_outbox_is_set_aside(standin: StandIn, api: StubIngress, tmp_path: Path) -> None:
    add_guilds(standin, 1)
    data = tmp_path / "data"
    data.mkdir()
    damaged = b"not a database, by any means" * 100
    (data / FILE_NAME).write_bytes(damaged)
    async with relaying(tmp_path, standin.api_url, api.endpoint) as relay:
        await _join(standin)
        await api.wait_for_events(2)
        relay.terminate()
        assert await relay.wait() == 0
    assert [event["type"].rpartition(".")[2] for event in api.events()] == ["gap", "joined"]
    (aside,) = data.glob(f"{FILE_NAME}.damaged-*")
    assert aside.read_bytes() == damaged
    assert "outbox_damaged" in relay.stdout
    assert aside.name in relay.stdout


async def test_unreachable_discord_is_retried(api: StubIngress, tmp_path: Path, closed_port: int) -> None:
    async with relaying(tmp_path, f"http://127.0.0.1:{closed_port}/api/v10", api.endpoint) as relay:
        output = await wait_for_text(relay, "gateway_failed")
        relay.terminate()
        assert await relay.wait(15) == 0
    assert "Discord cannot be reached" in output
    assert "retry_s" in output


async def _join(standin: StandIn) -> None:
    """Give the relay something to deliver."""
    await standin.wait_connected(20)
    (guild,) = standin.world.guilds.values()
    await join_one(guild)


async def test_unreachable_endpoint_is_retried(standin: StandIn, tmp_path: Path, closed_port: int) -> None:
    add_guilds(standin, 1)
    async with relaying(tmp_path, standin.api_url, f"http://127.0.0.1:{closed_port}") as relay:
        await _join(standin)
        output = await wait_for_text(relay, "batch_retried_later")
        relay.terminate()
        assert await relay.wait(15) == 0
    assert "cannot reach the API" in output
    assert "retry_s" in output


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        ({}, ("no AWS credentials found", "AWS_ACCESS_KEY_ID")),
        ({"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE"}, ("incomplete",)),
        ({"AWS_PROFILE": "nobody"}, ("AWS_PROFILE names a profile",)),
    ],
)
async def test_missing_credentials_are_retried(
    standin: StandIn,
    api: StubIngress,
    tmp_path: Path,
    credentials: Mapping[str, str],
    words: tuple[str, ...],
) -> None:
    add_guilds(standin, 1)
    async with relaying(
        tmp_path,
        standin.api_url,
        api.endpoint,
        settings={"AWS_REGION": "eu-central-1"},
        credentials=credentials,
    ) as relay:
        await _join(standin)
        output = await wait_for_text(relay, "batch_retried_later")
        relay.terminate()
        assert await relay.wait(15) == 0
    for word in words:
        assert word in output
    assert api.requests == 0


@pytest.mark.parametrize(
    ("headers", "word"),
    [({}, "bot policy"), ({"Date": "Sat, 21 Nov 2020 07:00:00 GMT"}, "clock is")],
    ids=["refused credentials", "a clock that is off"],
)
async def test_refusal_by_api_keeps_everything(
    standin: StandIn, tmp_path: Path, headers: Mapping[str, str], word: str
) -> None:
    """With session credentials, so that there is a token to keep out of the log too."""
    add_guilds(standin, 1)
    session = {**CREDENTIALS, "AWS_SESSION_TOKEN": "the-session-token-that-no-line-may-hold=="}

    async def forbid(_: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"message": "Forbidden"}, status=403, headers=headers)

    async with Ledger() as api:
        api.answers.extend([forbid] * 2)
        async with relaying(tmp_path, standin.api_url, api.endpoint, credentials=session) as relay:
            await _join(standin)
            output = await wait_for_text(relay, "batch_retried_later")
            await api.wait_for_events(1)
            relay.terminate()
            assert await relay.wait(15) == 0
        check_output(relay, [session["AWS_SESSION_TOKEN"]])
    assert word in output
    assert "403" in output
