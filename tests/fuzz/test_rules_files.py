"""Rules files, whatever is in them: rules, or a SettingsError of a page that names the file."""

import tempfile
from pathlib import Path
from typing import Final

import hypothesis.strategies as st
from hypothesis import example, given

from bot.errors import SettingsError
from bot.routing.facts import Surroundings
from bot.routing.rules import Rules
from bot.routing.rules_file import parse_rules, read_rules
from bot.ulid import UlidFactory
from bot.voice.tracker import Tracker
from tests.support.frames import GENERAL, NELLY, T0, events, guild_create, voice_state
from tests.support.secret_samples import WEBHOOK

FILE: Final = "rules.toml"
_KEYS: Final = st.sampled_from(
    [
        *("name", "types", "guilds", "channels", "categories", "users", "roles", "bot", "afk", "changed"),
        *("workflow", "destination", "debounce_s", "batch_max_events", "drop", "continue", "rule", "a.b"),
        '"\\u202e"',
    ]
)
_VALUES: Final = st.one_of(
    st.sampled_from(
        [
            *("true", "false", "1", "-1", "0.5", "nan", "inf", "1e999", "9" * 30, "0x" + "f" * 40),
            *('"joined"', '["joined"]', "[]", '["1"]', "[1, '2']", '{a = "b"}', "[[[[]]]]", "2026-11-21"),
            *('"notify"', '"\\u001b[2J"', '"\\ud800"', "''''''"),
            f'"{WEBHOOK}"',
        ]
    ),
    st.text(max_size=20).map(lambda text: f"'{text}'"),
)
_SHAPES: Final = ("[rule]", "[rule.x]", "[[rule.x]]", "'''", '"""', "#", "\x00", "\ufeff", "a" + ".a" * 100)
_LINES: Final = st.one_of(
    st.just("[[rule]]"),
    st.tuples(_KEYS, _VALUES).map(" = ".join),
    st.text(max_size=30),
    st.sampled_from(_SHAPES),
)
TEXTS: Final = st.one_of(st.text(max_size=300), st.lists(_LINES, max_size=12).map("\n".join))


@given(TEXTS)
@example("[[rule]]\nx = " + "[" * 50_000)
@example("[[rule]]\ndestination = '" + "\u202e" * 50_000 + "'")
@example('[[rule]]\n"' + "x" * 40_000 + '" = 1')
def test_text_is_rules_or_problems(text: str) -> None:
    """A secret in the wrong place is not repeated, and nothing said controls a terminal."""
    problems: tuple[str, ...] = ()
    try:
        rules = parse_rules(text, FILE)
    except SettingsError as error:
        problems = error.problems
    else:
        check(rules)
    assert len(problems) <= 21
    for problem in problems:
        assert problem.startswith(FILE)
        assert problem.isprintable()
        assert len(problem) < 500
        assert WEBHOOK not in problem


@given(st.binary(max_size=300))
def test_bytes_are_rules_or_problems(content: bytes) -> None:
    problems: tuple[str, ...] = ()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / FILE
        path.write_bytes(content)
        try:
            check(read_rules(path))
        except SettingsError as error:
            problems = error.problems
    assert all(problem.startswith(str(path)) for problem in problems)


def check(rules: Rules) -> None:
    """Ask *rules* about an event."""
    tracker = Tracker({}, UlidFactory())
    tracker.snapshot(guild_create({}), T0)
    (event,) = events(tracker.voice_state(voice_state(NELLY, GENERAL), T0))
    for route in rules.route(event, Surroundings()):
        assert route.workflow.isascii()
        assert route.destination.isascii()
