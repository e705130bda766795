"""What a command prints and asks, and where that goes."""

import io

import pytest

from bot.console import Console
from bot.errors import SettingsError
from tests.support.consoles import Keyboard, RecordingConsole

OTHERWISE = "nothing was changed"


def interrupt(*_: object) -> str:
    raise KeyboardInterrupt


def end(*_: object) -> str:
    raise EOFError


def at_terminal(read: Keyboard, ask_hidden: object = interrupt) -> Console:
    assert callable(ask_hidden)
    return Console(read, io.StringIO(), io.StringIO(), ask_hidden)


def test_separates_answer_from_problems() -> None:
    console = RecordingConsole()
    assert console.report(["one", "two"]) == 0
    assert console.report(["three"], ["it broke"]) == 1
    assert console.lines == ["one", "two", "three"]
    assert console.hints == ["voice-relay: it broke"]


def test_says_facts_in_columns() -> None:
    console = RecordingConsole()
    console.say_facts([("a", "1"), ("bcd", "2\x1b")])
    assert console.lines == ["a    1", "bcd  2\\u001b"]


def test_escapes_what_stream_cannot_encode() -> None:
    buffer = io.BytesIO()
    out = io.TextIOWrapper(buffer, encoding="latin-1")
    Console(io.StringIO(), out, io.StringIO(), interrupt).say("Nélly", "\N{PARTY POPPER}")
    assert buffer.getvalue() == "Nélly\n\\ud83c\\udf89\n".encode("latin-1")


@pytest.mark.parametrize(("typed", "agreed"), [("y\n", True), ("YES\n", True), ("n\n", False), ("", False)])
def test_only_yes_confirms(typed: str, agreed: bool) -> None:
    console = RecordingConsole(typed)
    assert console.confirm("Really?", otherwise=OTHERWISE) is agreed
    assert (console.lines, console.hints) == ([], ["Really? [y/N] "])


def test_confirmation_needs_terminal() -> None:
    console = Console(io.StringIO("y\n"), io.StringIO(), io.StringIO(), interrupt)
    for ask in (console.require_terminal, lambda: console.confirm("Really?", otherwise=OTHERWISE)):
        with pytest.raises(SettingsError, match="give --yes"):
            ask()
    RecordingConsole("").require_terminal()


def test_interrupted_question_says_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    keyboard = Keyboard()
    monkeypatch.setattr(keyboard, "readline", interrupt)
    console = at_terminal(keyboard)
    with pytest.raises(KeyboardInterrupt, match=OTHERWISE):
        console.confirm("Really?", otherwise=OTHERWISE)
    with pytest.raises(KeyboardInterrupt, match=OTHERWISE):
        console.ask_secret("Secret: ", otherwise=OTHERWISE)


def test_secret_may_be_missing() -> None:
    assert at_terminal(Keyboard(), end).ask_secret("Secret: ", otherwise=OTHERWISE) is None
    assert at_terminal(Keyboard(), lambda _: "s3cret").ask_secret("Secret: ", otherwise=OTHERWISE) == "s3cret"
