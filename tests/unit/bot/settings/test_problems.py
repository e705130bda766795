"""What is wrong with settings: every problem at once, by name, and never with the value."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import SettingsError
from bot.settings.settings import Settings, load_settings
from bot.settings.sources import PREFIX
from bot.settings.values import EXPECTED
from tests.support.settings import ENDPOINT, TOKEN, WEBHOOK, Machine

ACTIVITY = "arn:aws:states:eu-central-1:123456789012:activity:relay-actions"

BAD = [
    ("DISCORD_TOKEN", ["a b", '"quoted"', "Bot "]),
    (
        "DISCORD_API_URL",
        [
            "discord.com",
            "http://discord.com/api/v10",
            "http://127.0.0.1.example.com",
            "ftp://discord.com",
            "https://h/?a=b",
            "https://u:p@h",
            "https://h:x",
        ],
    ),
    (
        "API_ENDPOINT",
        [
            "http://example.com",
            "a.b",
            "https://",
            ENDPOINT + "?x",
            ENDPOINT + "#x",
            "https://u@h",
            "https://h/a b",
        ],
    ),
    ("AWS_REGION", ["frankfurt", "eu-central", "eu-central-1 "]),
    (
        "WEBHOOK_URL",
        [
            WEBHOOK.replace("https", "http"),
            WEBHOOK.replace("discord.com", "discord.com.example"),
            WEBHOOK.replace("discord.com", "discord.com:8443"),
            WEBHOOK + "?wait=true",
            "https://discord.com/api/webhooks/1",
            "https://discord.com/channels/1/2",
        ],
    ),
    ("BATCH_MAX_EVENTS", ["0", "1001", "many", "2.5"]),
    (
        "ACTIVITY_ARN",
        ["relay-actions", "arn:aws:states:us-east-1:123456789012:stateMachine:x", f"{ACTIVITY} "],
    ),
    ("OPS_HOST", ["http://127.0.0.1", "a b"]),
    ("OPS_PORT", ["-1", "65536", "http"]),
    ("HEARTBEAT_S", ["-1", "0.5", "inf", "often"]),
    ("LOG_FORMAT", ["xml"]),
    ("LOG_LEVEL", ["loud"]),
    ("SHUTDOWN_GRACE_S", ["-1", "inf", "nan", "soon"]),
    ("SHARD_IDS", ["a", "1,1", "-1", "1,,2", "1.5"]),
    ("WORKFLOWS", ["a b", "audit,", "https://x"]),
    ("DESTINATIONS", ["a/b", "default,,mods"]),
    ("SHARD_COUNT", ["0", "two"]),
]


SECRETS = ["DISCORD_TOKEN", "WEBHOOK_URL", "API_ENDPOINT", "OPS_PORT", "SHARD_IDS", "LOG_LEVEL", "AWS_REGION"]


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD for value in values])
def test_says_what_is_expected(machine: Machine, name: str, value: str) -> None:
    if name == "SHARD_COUNT":
        machine.set(SHARD_IDS="0")
    machine.set(**{name: value})
    assert machine.problems() == [f"VOICE_RELAY_{name} {EXPECTED[name.lower()]}"]


def test_every_setting_has_an_expectation() -> None:
    assert set(EXPECTED) == set(Settings.model_fields)


def test_reports_every_problem_at_once(machine: Machine) -> None:
    machine.set(
        DISCORD_TOKEN=None, API_ENDPOINT=None, OPS_PORT="x", LOG_LEVEL="x", SHARD_IDS="0", DATA_DRI="x"
    )
    named = [problem.split(" ")[0].removeprefix(PREFIX) for problem in machine.problems()]
    assert sorted(named) == [
        "DATA_DRI",
        "DISCORD_TOKEN",
        "LOG_LEVEL",
        "OPS_PORT",
        "SHARD_COUNT",
        "WEBHOOK_URL",
    ]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"DISCORD_TOKEN": None}, r"DISCORD_TOKEN is not set: .*token"),
        ({"API_ENDPOINT": None}, r"WEBHOOK_URL is not set, nor is VOICE_RELAY_API_ENDPOINT: "),
        ({"SHARD_IDS": "0"}, r"SHARD_COUNT is not set, but VOICE_RELAY_SHARD_IDS is"),
        ({"SHARD_COUNT": "2"}, r"SHARD_COUNT is set, but VOICE_RELAY_SHARD_IDS is not"),
        ({"SHARD_IDS": "0,2", "SHARD_COUNT": "2"}, r"SHARD_COUNT must be .* greater than every one"),
        ({"AWS_REGION": "us-east-1"}, r"AWS_REGION is not the region in VOICE_RELAY_API_ENDPOINT"),
    ],
)
def test_explains_conflicts(machine: Machine, values: dict[str, str | None], problem: str) -> None:
    machine.set(**values)
    (found,) = machine.problems()
    assert re.match(PREFIX + problem, found)


def test_wrong_endpoint_is_not_missing(machine: Machine) -> None:
    """A wrong endpoint is one problem; no webhook is asked for beside it."""
    machine.set(API_ENDPOINT="nonsense")
    assert [problem.split(" ")[0] for problem in machine.problems()] == ["VOICE_RELAY_API_ENDPOINT"]


def test_suggests_nearest_name(machine: Machine) -> None:
    machine.env_file.write_text("voice_relay_api_endpiont=x\n")
    (machine.secrets / "voice_relay_webhok_url").write_text("x")
    machine.set(NONSENSE="x")
    assert machine.problems() == [
        "VOICE_RELAY_API_ENDPIONT is not a setting: did you mean VOICE_RELAY_API_ENDPOINT?",
        "VOICE_RELAY_NONSENSE is not a setting: remove it; .env.example lists them all",
        "VOICE_RELAY_WEBHOK_URL is not a setting: did you mean VOICE_RELAY_WEBHOOK_URL?",
    ]


@pytest.mark.parametrize("bad", ["missing", "a file"])
def test_explains_bad_secrets_directory(machine: Machine, bad: str) -> None:
    path = machine.env_file.with_name("elsewhere")
    if bad == "a file":
        path.write_text("")
    machine.set(SECRETS_DIR=str(path))
    (problem,) = machine.problems()
    assert re.match(rf"cannot read {re.escape(str(path))} \(.+\): check", problem)


def test_explains_file_not_utf8(machine: Machine) -> None:
    machine.env_file.write_bytes(b"VOICE_RELAY_DATA_DIR=\xff\xfe")
    (problem,) = machine.problems()
    assert "UTF-8" in problem


@pytest.mark.parametrize("name", SECRETS)
def test_never_repeats_a_value(machine: Machine, name: str) -> None:
    """The value may be a token in the wrong variable, or a token with a space in it."""
    machine.set(**{name: f"top secret {TOKEN}"})
    with pytest.raises(SettingsError) as caught:
        machine.load()
    shown = repr(caught.value) + str(caught.value) + repr(caught.value.__cause__)
    assert not {"top", "GabcdE", "a-secret-part"} & set(re.split(r"[ .]", shown))
    assert caught.value.__suppress_context__


@given(st.sampled_from(sorted(Settings.model_fields)), st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_text_is_valid_or_explained(name: str, value: str) -> None:
    """Any text leads to settings or to a SettingsError, never to another error."""
    text = "".join(character for character in value if character not in "\0\r\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOICE_RELAY_DISCORD_TOKEN", TOKEN)
        patch.setenv("VOICE_RELAY_API_ENDPOINT", ENDPOINT)
        patch.setenv(PREFIX + name.upper(), text)
        with contextlib.suppress(SettingsError):
            load_settings(env_file=None)


def test_unknown_action_lists_the_known(machine: Machine) -> None:
    machine.set(ACTIONS="send,ban")

    (problem,) = machine.problems()

    assert problem.startswith(
        "VOICE_RELAY_ACTIONS names an action that does not exist: there are find_person, "
    )
    assert problem.endswith(", send, edit, delete, direct_message")


def test_actions_need_the_activity(machine: Machine) -> None:
    machine.set(ACTIONS="send", API_ENDPOINT="https://relay.example.com")
    (problem,) = machine.problems()
    assert problem.startswith("VOICE_RELAY_ACTIVITY_ARN is not set, but VOICE_RELAY_ACTIONS is: ")
    assert "voice-relay deploy --parameter Actions=true" in problem

    machine.set(ACTIVITY_ARN=ACTIVITY)
    assert machine.load().actions == ("send",)


def test_activity_of_another_region(machine: Machine) -> None:
    machine.set(API_ENDPOINT="https://a1.execute-api.us-east-1.amazonaws.com", ACTIVITY_ARN=ACTIVITY)

    (problem,) = machine.problems()

    assert problem.startswith("VOICE_RELAY_ACTIVITY_ARN is not in the region of VOICE_RELAY_API_ENDPOINT")


def test_single_machine_mode_has_its_own_activity(machine: Machine) -> None:
    machine.set(ACTIONS="send", API_ENDPOINT="", WEBHOOK_URL=WEBHOOK)

    assert machine.load().activity_arn is None
