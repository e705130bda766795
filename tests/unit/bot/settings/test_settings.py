"""Settings: their sources, their values, and the messages about wrong ones."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from bot.errors import SettingsError
from bot.settings import sources
from bot.settings.settings import Settings, load_api_settings
from bot.settings.sources import PREFIX
from bot.settings.values import region_of
from tests.support.settings import ENDPOINT, TOKEN, WEBHOOK, Machine

EXAMPLE = Path(__file__).parents[4] / ".env.example"


def test_defaults(machine: Machine) -> None:
    loaded = machine.load()
    assert loaded.discord_token.get_secret_value() == TOKEN
    assert loaded.model_dump(exclude={"discord_token", "api_endpoint"}) == {
        "discord_api_url": "https://discord.com/api/v10",
        "aws_region": None,
        "webhook_url": None,
        "data_dir": Path("data"),
        "rules_file": None,
        "workflows": (),
        "workflows_dir": None,
        "connections_file": None,
        "destinations": (),
        "actions": (),
        "activity_arn": None,
        "batch_max_events": None,
        "max_event_age_s": 86_400,
        "outbox_max_bytes": 1 << 30,
        "outbox_synchronous": "full",
        "receipts_kept_s": 604_800,
        "ops_host": "127.0.0.1",
        "ops_port": 8080,
        "polls_per_s": 10,
        "heartbeat_s": 60,
        "log_format": "auto",
        "log_level": "info",
        "shutdown_grace_s": 10,
        "shard_ids": None,
        "shard_count": None,
    }


def test_parses_every_kind_of_value(machine: Machine) -> None:
    machine.set(
        SHARD_IDS="0, 2,1",
        SHARD_COUNT="3",
        LOG_LEVEL="DEBUG",
        LOG_FORMAT="Json",
        SHUTDOWN_GRACE_S="2.5",
        RULES_FILE="rules.toml",
        OPS_PORT="0",
        BATCH_MAX_EVENTS="1000",
        WORKFLOWS="audit",
        DESTINATIONS="default, mods",
        HEARTBEAT_S="0",
        AWS_REGION="eu-central-1",
    )
    loaded = machine.load()
    assert loaded.shard_ids == (0, 2, 1)
    assert (loaded.workflows, loaded.destinations) == (("audit",), ("default", "mods"))
    assert (loaded.shard_count, loaded.ops_port, loaded.batch_max_events) == (3, 0, 1000)
    assert (loaded.log_level, loaded.log_format, loaded.shutdown_grace_s) == ("debug", "json", 2.5)
    assert loaded.heartbeat_s == 0
    assert loaded.rules_file == Path("rules.toml")
    assert loaded.aws_region == "eu-central-1"


def test_environment_then_file_then_secrets(machine: Machine) -> None:
    machine.env_file.write_text("VOICE_RELAY_DATA_DIR=from-file\nVOICE_RELAY_OPS_HOST=::1\nOTHER=x\n")
    (machine.secrets / "Voice_Relay_Discord_Token").write_text("from-secrets\n")
    (machine.secrets / "voice_relay_data_dir").write_text("from-secrets")
    (machine.secrets / "someone_elses").write_text("x")
    machine.set(OPS_HOST="192.0.2.1", DISCORD_TOKEN=None)
    loaded = machine.load()
    assert loaded.ops_host == "192.0.2.1"
    assert loaded.data_dir == Path("from-file")
    assert loaded.discord_token.get_secret_value() == "from-secrets"


def test_empty_value_counts_as_unset(machine: Machine) -> None:
    """A secret's file counts although .env has an empty line for it, and an unused file may be empty."""
    machine.set(DISCORD_TOKEN="", DATA_DIR="", SHARD_IDS="")
    machine.env_file.write_text("VOICE_RELAY_DISCORD_TOKEN=\n")
    (machine.secrets / "voice_relay_discord_token").write_text("from-secrets")
    (machine.secrets / "voice_relay_webhook_url").write_text("")
    loaded = machine.load()
    assert loaded.discord_token.get_secret_value() == "from-secrets"
    assert (loaded.data_dir, loaded.shard_ids, loaded.webhook_url) == (Path("data"), None, None)


@pytest.mark.parametrize("place", ["environment", "file"])
def test_empty_port_disables_ops_server(machine: Machine, place: str) -> None:
    if place == "environment":
        machine.set(OPS_PORT="")
    else:
        machine.env_file.write_text("VOICE_RELAY_OPS_PORT=\n")
    assert machine.load().ops_port is None


def test_reads_default_secrets_directory(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine.secrets / "voice_relay_discord_token").write_text("mounted")
    machine.set(SECRETS_DIR=None, DISCORD_TOKEN=None)
    monkeypatch.setattr(sources, "_SECRETS_DIR", machine.secrets)
    assert machine.load().discord_token.get_secret_value() == "mounted"


@pytest.mark.parametrize("written", [f"Bot {TOKEN}", f" {TOKEN}\n", f"Bot  {TOKEN} "])
def test_strips_scheme_and_spaces_from_token(machine: Machine, written: str) -> None:
    machine.set(DISCORD_TOKEN=written)
    assert machine.load().discord_token.get_secret_value() == TOKEN


@pytest.mark.parametrize(
    "url",
    [
        WEBHOOK,
        WEBHOOK.replace("discord.com", "canary.discord.com"),
        WEBHOOK.replace("discord.com", "ptb.discord.com"),
        WEBHOOK.replace("/api/", "/api/v10/"),
        WEBHOOK + "/",
        WEBHOOK.replace("https://discord.com", "http://127.0.0.1:8000"),
    ],
)
def test_accepts_webhook_without_endpoint(machine: Machine, url: str) -> None:
    machine.set(API_ENDPOINT=None, WEBHOOK_URL=url)
    loaded = machine.load()
    assert loaded.api_endpoint is None
    assert loaded.webhook_url == SecretStr(url.rstrip("/"))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:4566/x/",
        "http://localhost:1",
        "http://[::1]:2",
        "http://a.localhost:3",
        ENDPOINT + "/",
    ],
)
def test_strips_slash_from_endpoint(machine: Machine, url: str) -> None:
    machine.set(API_ENDPOINT=url)
    assert machine.load().api_endpoint == url.rstrip("/")


def test_accepts_region_with_custom_domain(machine: Machine) -> None:
    machine.set(API_ENDPOINT="https://relay.example.com", AWS_REGION="us-east-1")
    assert machine.load().aws_region == "us-east-1"


def test_api_settings_ignore_other_settings(machine: Machine) -> None:
    machine.set(DISCORD_TOKEN=None, OPS_PORT="x", DATA_DIR="")
    loaded = load_api_settings(env_file=machine.env_file)
    assert loaded.api_endpoint == ENDPOINT
    assert (loaded.webhook_url, loaded.log_level, loaded.secrets()) == (None, "info", [])


def test_api_settings_require_nothing(machine: Machine) -> None:
    """Callers report a missing endpoint or webhook themselves."""
    machine.set(DISCORD_TOKEN=None, API_ENDPOINT=None)
    loaded = load_api_settings(env_file=machine.env_file)
    assert (loaded.api_endpoint, loaded.webhook_url) == (None, None)


def test_api_settings_refuse_wrong_and_unknown(machine: Machine) -> None:
    machine.set(API_ENDPOINT="nonsense", WEBHOOK_URL="nonsense", API_ENDPIONT=ENDPOINT)
    with pytest.raises(SettingsError) as caught:
        load_api_settings(env_file=machine.env_file)
    named = [problem.split(" ")[0].removeprefix(PREFIX) for problem in caught.value.problems]
    assert sorted(named) == ["API_ENDPIONT", "API_ENDPOINT", "WEBHOOK_URL"]


def test_ignores_kubernetes_service_variables(machine: Machine) -> None:
    machine.set(
        SERVICE_HOST="10.0.0.1",
        SERVICE_PORT="80",
        SERVICE_PORT_HTTP="80",
        PORT="tcp://10.0.0.1:80",
        PORT_80_TCP="tcp://10.0.0.1:80",
        PORT_80_TCP_ADDR="10.0.0.1",
    )
    machine.load()


def test_ignores_byte_order_mark(machine: Machine) -> None:
    machine.env_file.write_bytes(b"\xef\xbb\xbfVOICE_RELAY_DATA_DIR=here\n")
    assert machine.load().data_dir == Path("here")


def test_repr_hides_secrets(machine: Machine) -> None:
    machine.set(WEBHOOK_URL=WEBHOOK)
    loaded = machine.load()
    assert TOKEN not in repr(loaded) + str(loaded) + loaded.model_dump_json()
    assert "a-secret_webhook-token" not in repr(loaded) + str(loaded) + loaded.model_dump_json()
    assert loaded.secrets() == [TOKEN, WEBHOOK, "a-secret_webhook-token"]


@pytest.mark.parametrize(
    ("endpoint", "region"),
    [
        (ENDPOINT, "eu-central-1"),
        ("https://x.execute-api.cn-north-1.amazonaws.com.cn/stage", "cn-north-1"),
        ("https://relay.example.com", None),
        ("https://x.execute-api.eu-central-1.amazonaws.com.example", None),
        ("http://127.0.0.1:4566", None),
    ],
)
def test_reads_region_from_host_name(endpoint: str, region: str | None) -> None:
    assert region_of(endpoint) == region


def test_example_has_every_setting(machine: Machine) -> None:
    """Each has its description and its default; all but the required one are commented out."""
    blocks = re.findall(r"^# (.+)\n(#?)(VOICE_RELAY_\w+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE)
    assert [(name, text) for text, _, name, _ in blocks] == [
        (PREFIX + name.upper(), field.description) for name, field in Settings.model_fields.items()
    ]
    assert [name for _, mark, name, _ in blocks if not mark] == ["VOICE_RELAY_DISCORD_TOKEN"]
    defaults = machine.load()
    machine.env_file.write_text("".join(f"{name}={value}\n" for _, _, name, value in blocks))
    assert machine.load() == defaults


@pytest.mark.parametrize("source", ["environment", "file", "secrets"])
def test_refuses_broken_aws_key(machine: Machine, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line break in it would be refused at each request; one at the end of a file is only the file's."""
    name, value = "AWS_SECRET_ACCESS_KEY", "a-secret\nhalf"
    if source == "environment":
        monkeypatch.setenv(name, value)
    elif source == "file":
        machine.env_file.write_text(f'{name}="{value}"\n')
    else:
        (machine.secrets / name.lower()).write_text(value)
        (machine.secrets / "aws_access_key_id").write_text("AKIA\n")
    (problem,) = machine.problems()
    assert problem.startswith(f"{name} holds a line break")
    assert "half" not in problem
