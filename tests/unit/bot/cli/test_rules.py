"""``voice-relay rules check``, as it is typed."""

import io
import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from bot.cli.main import main
from bot.settings.sources import PREFIX
from bot.ulid import UlidFactory
from bot.voice.events import Event
from bot.voice.samples import GENERAL, build_sample
from bot.voice.tracker import Tracker

RULES = """\
[[rule]]
name = "no bots"
bot = true
drop = true

[[rule]]
categories = ["10"]
workflow = "audit"
debounce_s = 2.5
continue = true

[[rule]]
afk = true
drop = true

[[rule]]
types = ["joined", "moved"]
channels = ["5"]
destination = "ops"
batch_max_events = 7

[[rule]]
types = ["gap"]
guilds = ["2"]

[[rule]]
roles = ["20"]
changed = ["mute"]
"""
NOTE = (
    "voice-relay: rules.toml: no rule takes joined, left and moved of all channels and people: what the "
    "rules do not match goes nowhere. If it is to be posted, end the file with a rule that has "
    'types = ["joined", "left", "moved"]\n'
)


@pytest.fixture(autouse=True)
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A rules file in an empty working directory, without settings."""
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.setenv(PREFIX + "SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv(PREFIX + "WORKFLOWS", "audit")
    monkeypatch.setenv(PREFIX + "DESTINATIONS", "default,ops")
    monkeypatch.chdir(tmp_path)
    path = Path("rules.toml")
    path.write_text(RULES)
    return path


def write_event(*channels: str | None, bot: bool = False) -> str:
    """Write the last event of a person who moves through *channels*, and return the file's name."""
    tracker = Tracker({}, UlidFactory())
    tracker.snapshot({"id": "1"}, 0)
    events: list[Event] = []
    for channel in channels:
        user = {"id": "7", "username": "nelly", "bot": bot}
        observation = tracker.voice_state(
            {"guild_id": "1", "channel_id": channel, "member": {"user": user}}, 0
        )
        assert observation is not None
        events += observation.events
    Path("event.json").write_bytes(orjson.dumps(events[-1]))
    return "event.json"


def write_gap() -> str:
    tracker = Tracker({}, UlidFactory())
    tracker.snapshot({"id": "1"}, 0)
    tracker.unwatch("1", "restart", since_ms=None)
    observation = tracker.snapshot({"id": "1"}, 0)
    assert observation is not None
    Path("gap.json").write_bytes(orjson.dumps(observation.events[0]))
    return "gap.json"


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run ``voice-relay rules check``; return its exit code and what it printed to out and err."""
    code = main(["rules", "check", *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_counts_valid_rules(capsys: pytest.CaptureFixture[str]) -> None:
    assert check(capsys, "rules.toml") == (0, "rules.toml: 6 rules, valid\n", NOTE)
    Path("one.toml").write_text("[[rule]]\n")
    assert check(capsys, "one.toml") == (0, "one.toml: 1 rule, valid\n", "")


def test_prints_every_problem(capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.toml").write_text("[[rule]]\nbot = 1\nuser = ['1']\n")
    code, out, err = check(capsys, "bad.toml", "--event", write_event("5"))
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "voice-relay: bad.toml line 2, rule 1: bot must be true or false",
        "voice-relay: bad.toml line 3, rule 1: unknown key user: did you mean users?",
    ]


def test_shows_verdict_of_each_rule(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = check(capsys, "rules.toml", "--event", write_event("6", "5"))
    assert (code, err) == (0, "")
    assert out == (
        "rules.toml: 6 rules, valid\n"
        "discord.voice.moved in guild 1, user 7\n"
        "  rule 1 (no bots)  no: bot (here: false)\n"
        "  rule 2            no: categories (here: none known; give one with --category)\n"
        "  rule 3            no: afk (here: false)\n"
        "  rule 4            yes: workflow notify, destination ops, up to 7 events at once\n"
        "  rule 5            not reached\n"
        "  rule 6            not reached\n"
        "It goes to notify/ops.\n"
    )


def test_shows_every_route(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = check(capsys, "rules.toml", "--event", write_event("5"), "--category", "10")
    assert (
        "  rule 2            yes: workflow audit, destination default, debounced for 2.5 s, then continues\n"
        in out
    )
    assert out.endswith("It goes to audit/default, notify/ops.\n")


def test_event_may_be_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = check(capsys, "rules.toml", "--event", write_event("5", bot=True))
    assert code == 0
    assert "  rule 1 (no bots)  yes: dropped\n" in out
    assert out.endswith("It goes nowhere: rule 1 (no bots) drops it.\n")
    code, out, _ = check(capsys, "rules.toml", "--event", write_event("5"), "--afk", "--category", "10")
    assert code == 0
    assert out.endswith("It goes to audit/default.\n")


def test_update_enters_no_channel(capsys: pytest.CaptureFixture[str]) -> None:
    """Although the person is in the channel that the rule names."""
    Path("door.toml").write_text(f'[[rule]]\nentering = ["{GENERAL}"]\n')
    Path("updated.json").write_bytes(orjson.dumps(build_sample("updated")))

    _, out, _ = check(capsys, "door.toml", "--event", "updated.json")

    assert "  rule 1  no: entering (here: none)\n" in out


def test_unmatched_event_fails(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = check(capsys, "rules.toml", "--event", write_event("8"))
    assert code == 1
    assert "  rule 4            no: channels (here: 8)\n" in out
    assert "  rule 6            no: roles (here: none known; give one with --role)\n" in out
    assert out.endswith("It goes nowhere: no rule matches.\n")
    _, out, _ = check(capsys, "rules.toml", "--event", write_event("8"), "--role", "3", "--role", "20")
    assert "  rule 6            no: changed (here: none)\n" in out


def test_gap_meets_no_personal_condition(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = check(capsys, "rules.toml", "--event", write_gap())
    assert code == 1
    assert "discord.voice.gap in guild 1\n" in out
    assert "  rule 1 (no bots)  no: bot (a gap has none)\n" in out
    assert "  rule 4            no: types (here: gap)\n" in out
    assert "  rule 5            no: guilds (here: 1)\n" in out


def test_two_categories_follow_the_move(
    capsys: pytest.CaptureFixture[str],
) -> None:
    event = write_event("6", "8")
    for categories in (["10"], ["10", "11"], ["11", "10"]):
        options = [option for category in categories for option in ("--category", category)]
        assert "audit" in check(capsys, "rules.toml", "--event", event, *options)[1]
    _, out, _ = check(capsys, "rules.toml", "--event", event, "--category", "11", "--category", "12")
    assert "categories (here: 11, 12)" in out
    _, out, _ = check(capsys, "rules.toml", "--event", event, "--category", "11")
    assert "categories (here: 11, 11)" in out


def test_reads_event_from_pipe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.TextIOWrapper(io.BytesIO(Path(write_event("5")).read_bytes()))
    monkeypatch.setattr("sys.stdin", pipe)
    assert check(capsys, "rules.toml", "--event", "-")[0] == 0


def test_defaults_to_file_of_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"DISCORD_TOKEN": "a.b.c", "API_ENDPOINT": "https://a1.execute-api.eu-west-1.amazonaws.com"}
    for name, value in settings.items():
        monkeypatch.setenv(PREFIX + name, value)
    code, out, _ = check(capsys, "--event", write_event("5"))
    assert (code, out.splitlines()[0]) == (0, "the built-in rules")
    assert out.endswith("It goes to notify/default.\n")
    monkeypatch.setenv(PREFIX + "RULES_FILE", "rules.toml")
    assert check(capsys) == (0, "rules.toml: 6 rules, valid\n", NOTE)


def test_ignores_other_settings(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing rules takes no token, and other settings may even be wrong."""
    assert check(capsys)[:2] == (0, "the built-in rules\n")
    Path(".env").write_text(f"{PREFIX}RULES_FILE=rules.toml\n{PREFIX}LOG_LEVEL=loud\n")
    assert check(capsys) == (0, "rules.toml: 6 rules, valid\n", NOTE)


def test_unreadable_settings_name_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    Path(".env").write_bytes(b"\xff\xfe")
    code, out, err = check(capsys)
    assert (code, out) == (2, "")
    assert ".env" in err
    assert err.endswith("voice-relay: or name the file: voice-relay rules check FILE\n")


def test_warns_of_unknown_names(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack may have what the settings do not tell, so the rules are valid all the same."""
    monkeypatch.delenv(PREFIX + "WORKFLOWS")
    monkeypatch.setenv(PREFIX + "DESTINATIONS", "default,mods")
    for options, note in (([], NOTE), (["--event", write_event("5")], "")):
        code, out, err = check(capsys, "rules.toml", *options)
        assert (code, out.splitlines()[0]) == (0, "rules.toml: 6 rules, valid")
        assert err.endswith(note)
        err = err.removesuffix(note)
        workflow, destination = err.splitlines()
        assert workflow.startswith(
            "voice-relay: rules.toml line 8, rule 2: the workflow audit (did you mean admit?) is not"
        )
        assert destination.startswith(
            "voice-relay: rules.toml line 19, rule 4: the stack has default and mods and no"
        )


def test_single_machine_refuses_unknown_names(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the start of the relay would."""
    monkeypatch.setenv(PREFIX + "WEBHOOK_URL", "https://discord.com/api/webhooks/1/token")
    code, out, err = check(capsys, "rules.toml")
    assert (code, out) == (2, "")
    assert "rules.toml line 8, rule 2: there is no workflow audit" in err
    assert "rules.toml line 19, rule 4: there is no destination ops" in err

    monkeypatch.setenv(PREFIX + "API_ENDPOINT", "https://api.invalid")
    assert check(capsys, "rules.toml") == (0, "rules.toml: 6 rules, valid\n", NOTE)


def test_definitions_count_before_the_webhook(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory of definitions is for one machine, whether or not the webhook is set already."""
    Path("own").mkdir()
    Path("own/greet.asl.json").write_text("{}")
    Path("own.toml").write_text('[[rule]]\nworkflow = "greet"\n')
    monkeypatch.setenv(PREFIX + "WORKFLOWS_DIR", "own")

    assert check(capsys, "own.toml") == (0, "own.toml: 1 rule, valid\n", "")


def test_named_file_needs_no_settings(capsys: pytest.CaptureFixture[str]) -> None:
    Path(".env").write_bytes(b"\xff\xfe")
    code, out, err = check(capsys, "rules.toml")
    assert (code, out) == (0, "rules.toml: 6 rules, valid\n")
    assert "voice-relay: so the names of workflows and destinations are not checked" in err.splitlines()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "event.json is not an event: it is not JSON: EOF"),
        (b"[]", "event.json is not an event: it must be a table"),
        (b"{}", "event.json is not an event: it has no 'type'"),
        (b'{"type": "discord.voice.danced"}', "it has a 'type' that is none of 'discord.voice.joined', "),
        (b'{"type": "discord.voice.gap", "id": 1}', "event.json is not an event: id must be a text"),
        (
            b'{"type": "discord.voice.gap", "time": "now"}',
            "time must be a time like 2026-11-21T07:00:00.123Z",
        ),
        (b'{"type": "discord.voice.gap", "data": {"guild": {"id": "x"}}}', "data.guild.id must be an id: up"),
        (b'{"type": "discord.voice.gap", "more": 1}', "event.json is not an event: more is unknown"),
    ],
)
def test_refuses_invalid_event(capsys: pytest.CaptureFixture[str], content: bytes, words: str) -> None:
    Path("event.json").write_bytes(content)
    code, _, err = check(capsys, "rules.toml", "--event", "event.json")
    assert code == 2
    assert words in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--event", "absent.json"], "absent.json cannot be read (No such file"),
        (["--afk"], "give one with --event"),
        (["--event", "gap.json", "--role", "1"], "a gap has no person and no channel"),
        (["--event", "gap.json", "--afk"], "a gap has no person and no channel"),
        (["--event", "event.json", "--category", "1", "--category", "2"], "has fewer channels than that"),
    ],
)
def test_refuses_contradicting_options(
    capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    write_event("5")
    write_gap()
    code, _, err = check(capsys, "rules.toml", *options)
    assert code == 2
    assert words in err


@pytest.mark.parametrize("arguments", [["rules"], ["rules", "check", "rules.toml", "--role", "x"]])
def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[Any], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_names_problems_and_unknown_workflow_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + "WEBHOOK_URL", "https://discord.com/api/webhooks/1/token")
    Path("bad.toml").write_text("[[rule]]\nbot = 1\nworkflow = 'notfy'\n[[rule]]\ndrop = 2\n")
    code, _, err = check(capsys, "bad.toml")
    assert code == 2
    assert [line.partition(": ")[2][:45] for line in err.splitlines()] == [
        "bad.toml line 2, rule 1: bot must be true or ",
        "bad.toml line 3, rule 1: there is no workflow",
        "bad.toml line 5, rule 2: drop must be true or",
    ]


def test_shows_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    Path("own.toml").write_text('[[rule]]\nworkflow = "audit"\n[rule.parameters]\nlimit = 5\nroom = "7"\n')
    _, out, _ = check(capsys, "own.toml", "--event", write_event("5"))
    assert 'workflow audit, destination default, parameters {"limit":5,"room":"7"}\n' in out


def test_names_actions_that_the_bot_would_refuse(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + "ACTIONS", "send")
    monkeypatch.setenv(PREFIX + "WORKFLOWS", "escort")
    Path("escort.toml").write_text('[[rule]]\nworkflow = "escort"\nparameters = { do = "disconnect" }\n')
    code, _, err = check(capsys, "escort.toml")
    assert code == 0
    assert "the workflow escort asks the bot for list_channel" in err
    monkeypatch.setenv(PREFIX + "ACTIONS", "list_channel,disconnect")
    assert check(capsys, "escort.toml")[2] == ""
