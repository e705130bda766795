"""Arguments that are no text, control the terminal, or never end: each costs a sentence."""

import pytest

from bot.cli.main import main
from tests.support.full_outbox import fill

NOT_TEXT = b"\xff\xfe".decode(errors="surrogateescape")
CONTROLS = "\x1b[2J\u202e\u2028\n"


@pytest.mark.parametrize(
    "command",
    [
        ["trace"],
        ["outbox", "show"],
        ["outbox", "redrive"],
        ["outbox", "drop", "--yes"],
        ["outbox", "list", "--reason"],
        ["status"],
        ["stop", "--yes"],
        ["signal", "name"],
    ],
)
def test_refuses_what_is_no_text(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*command, NOT_TEXT])
    assert "must be text in UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["outbox", "status", CONTROLS],
        ["outbox", "status", f"--{CONTROLS}"],
        ["outbox", CONTROLS],
        [CONTROLS],
        ["outbox", "list", "--limit", CONTROLS],
        ["rules", "check", "--role", CONTROLS],
        ["outbox", "status", "x" * 1_000_000],
        ["x" * 1_000_000],
    ],
)
def test_usage_error_is_plain(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    said = capsys.readouterr().err
    assert all(line.isprintable() for line in said.split("\n"))
    assert len(said) < 3000


@pytest.mark.parametrize("name", [f"a{CONTROLS}b", "x" * 200, NOT_TEXT])
def test_names_odd_file_in_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A file's name may have line breaks."""
    monkeypatch.setenv("VOICE_RELAY_WEBHOOK_URL", "https://discord.com/api/webhooks/127121515262115840/t")
    assert main(["rules", "check", name]) == 2
    said = capsys.readouterr().err
    assert said.startswith("voice-relay: ")
    assert said.count("\n") == 1
    assert said.removesuffix("\n").isprintable()


@pytest.mark.parametrize("event_id", [CONTROLS, "x" * 1_000_000])
def test_unknown_event_is_named_in_a_line(
    capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory, event_id: str
) -> None:
    directory = tmp_path_factory.mktemp("data")
    fill(directory)
    assert main(["trace", event_id, "--data-dir", str(directory)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.removesuffix("\n").isprintable()
    assert len(said) < 5000
