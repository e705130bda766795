"""Where events go."""

from pathlib import Path

import pytest

from bot.capture import Capture
from bot.errors import SettingsError
from bot.events import Event
from bot.ids import UlidFactory
from bot.rules import DEFAULT_RULES, Route, Rules, load_rules

NOTIFY = Route("notify", "default")


def take(*channels: str | None, mute: bool = False) -> Event:
    """Return the last event of a person who goes through *channels*."""
    capture = Capture({}, UlidFactory())
    observation = None
    for place, channel in enumerate(channels):
        muted = mute and place == len(channels) - 1
        observation = capture.voice_state(
            {"guild_id": "1", "user_id": "7", "channel_id": channel, "self_mute": muted}, 0
        )
    assert observation is not None
    return observation.events[-1]


def gap() -> Event:
    capture = Capture({}, UlidFactory())
    capture.snapshot({"id": "1"}, 0)
    capture.unwatch("1", "session_lost", since_ms=0)
    observation = capture.snapshot({"id": "1"}, 0)
    assert observation is not None
    return observation.events[0]


def load(tmp_path: Path, text: str) -> Rules:
    path = tmp_path / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return load_rules(path)


def test_by_default_comings_and_goings_are_notified_and_changes_are_not() -> None:
    assert DEFAULT_RULES.route(take("5")) == NOTIFY
    assert DEFAULT_RULES.route(take("5", None)) == NOTIFY
    assert DEFAULT_RULES.route(take("5", "6")) == NOTIFY
    assert DEFAULT_RULES.route(gap()) == NOTIFY
    assert DEFAULT_RULES.route(take("5", "5", mute=True)) is None


def test_the_first_rule_that_matches_decides(tmp_path: Path) -> None:
    rules = load(
        tmp_path,
        """
        [[rule]]
        channels = ["5"]
        types = ["left"]
        drop = true
        [[rule]]
        users = ["7"]
        types = ["left", "moved"]
        workflow = "long"
        destination = "ops"
        [[rule]]
        """,
    )
    assert rules.route(take("5", None)) is None
    assert rules.route(take("6", None)) == Route("long", "ops")
    assert rules.route(take("6", "5")) == Route("long", "ops")
    assert rules.route(take("5")) == NOTIFY
    assert rules.route(gap()) == NOTIFY


@pytest.mark.parametrize(
    "condition", ['guilds = ["2"]', 'users = ["8"]', 'channels = ["9"]', 'types = ["updated"]']
)
def test_an_event_that_no_rule_matches_goes_nowhere(tmp_path: Path, condition: str) -> None:
    rules = load(tmp_path, f"[[rule]]\n{condition}\n")
    assert rules.route(take("5")) is None
    assert rules.route(gap()) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[rule]]\ntypes = ['join']", "rule 1, types"),
        ("[[rule]]\n[[rule]]\nguild = ['1']", "rule 2, guild: extra inputs"),
        ("[[rule]]\nworkflow = 'a/b'", "rule 1, workflow"),
        ("[[rule]]\nguilds = [1]", "rule 1, guilds"),
        ("rules = []", "rule: field required"),
        ("[[rule]]\nx =\n", "not valid TOML.*line 2"),
    ],
)
def test_a_bad_file_is_refused_by_name_and_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        load(tmp_path, text)
    assert "VOICE_RELAY_RULES_FILE" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml"):
        load_rules(tmp_path / "absent.toml")
