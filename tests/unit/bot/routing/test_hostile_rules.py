"""Rules files that are no rules: one problem that names the file, in bounded time and memory."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.errors import SettingsError
from bot.routing.rules_file import RULES_MAX_BYTES, load_rules, parse_rules


def _make_huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def _link_to_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [os.mkfifo, _link_to_zeros, _make_huge, Path.mkdir])
def test_refuses_endless_file(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "rules.toml"
    make(path)
    with pytest.raises(
        SettingsError, match=f"RULES_FILE: {path} cannot be read .*: check the path"
    ) as caught:
        load_rules(path)
    assert len(caught.value.problems) == 1


KEY = "a" + ".a" * 20_000


@pytest.mark.parametrize("text", [f"{KEY} = 1", f"[{KEY}]", f"[[{KEY}]]", f"[[rule]]\nx = {{{KEY} = 1}}"])
def test_refuses_key_of_many_parts(text: str) -> None:
    """Its lines alone would take gigabytes."""
    with pytest.raises(
        SettingsError, match=r"^rules.toml line \d: more than 64 dots: a key of a rule has none$"
    ):
        parse_rules(text, "rules.toml")


def test_accepts_dots_in_comment() -> None:
    text = f"# {'.' * 200}\n[[rule]]  # {'.' * 200}\nname = '{'.' * 64}'\n"
    assert len(parse_rules(text, "rules.toml").rules) == 1


@pytest.mark.parametrize(
    "text",
    [
        "x" * RULES_MAX_BYTES + " = 1",
        "[[rule]]\nx = " + "[" * 100_000,
        "[[rule]]\nx = " + "{a=" * 50_000,
        "[[rule]]\nbatch_max_events = " + "9" * 200_000,
        "[[rule]]\nworkflow = '" + "x" * 200_000 + "'",
        "[[rule]]\nusers = [" + "1," * 80_000 + "]",
        "[[rule]]\nx = 1\n" * 15_000,
        '"\\u0000" = 1\n[[rule]]\n"\\u202e" = 1',
    ],
    ids=["key", "arrays", "tables", "digits", "text", "ids", "rules", "controls"],
)
def test_problems_stay_short(text: str) -> None:
    """However much is wrong, a page tells it, in printable characters."""
    with pytest.raises(SettingsError) as caught:
        parse_rules(text, "rules.toml")
    problems = caught.value.problems
    assert len(problems) <= 21
    assert all(len(problem) < 500 and problem.isprintable() for problem in problems)


def test_counts_further_problems() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_rules("[[rule]]\nx = 1\n" * 30, "rules.toml")
    assert caught.value.problems[-1] == "rules.toml has 10 more problems"
