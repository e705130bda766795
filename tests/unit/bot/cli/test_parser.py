"""The table of commands, and what the parser makes of a slip."""

import dataclasses
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.cli.main import COMMANDS, build_parser, main
from bot.cli.parser import RENAMED, Command, CommandParser

ROOT = Path(__file__).parents[4]
SLOW = {"aiohttp", "asyncio", "botocore", "discord", "pydantic", "structlog"}
REQUIRED = {"outbox show": ["1"], "outbox redrive": ["1"], "outbox drop": ["1"], "trace": ["1"]} | {
    name: ["arn"] for name in ("status", "stop")
}
REQUIRED |= {"signal": ["name", "admit"], "events sample": ["joined"], "workflow new": ["greet"]}
REQUIRED |= {f"outbox {name}": ["notify"] for name in ("park", "release", "drop-lane")}


def list_commands() -> Iterator[tuple[str, Command]]:
    for entry in COMMANDS:
        if isinstance(entry, Command):
            yield entry.name, entry
        else:
            yield from ((f"{entry.name} {command.name}", command) for command in entry.commands)


ALL = list(list_commands())


@pytest.mark.parametrize(("name", "command"), ALL)
def test_command_has_frozen_options(name: str, command: Command) -> None:
    """Every line of the table names a module that can be parsed for and run."""
    arguments = build_parser().parse_args([*name.split(), *REQUIRED.get(name, [])])
    module: Any = importlib.import_module(command.module)
    assert arguments.command is module
    options = module.read_options(arguments)
    assert isinstance(options, module.Options)
    for field in dataclasses.fields(options):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(options, field.name, "changed")
    assert callable(module.run)


@pytest.mark.parametrize(("name", "command"), ALL)
def test_help_describes_command(name: str, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args([*name.split(), "--help"])
    assert caught.value.code == 0
    assert f"usage: voice-relay {name} [-h]" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("outbox", "--help"), ("dance",)])
def test_help_imports_nothing_slow(arguments: tuple[str, ...]) -> None:
    code = (
        "import sys\nfrom bot.cli.main import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    imported = set(done.stdout.splitlines())
    assert "argparse" in imported
    assert not imported & SLOW


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["redrvie"], "did you mean redrive?"),
        (["retry"], "it is now called redrive"),
        (["zzz"], "invalid choice: 'zzz'"),
    ],
)
def test_slip_suggests_command(given: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Unless nothing is near."""
    parser = CommandParser(prog="p")
    parser.add_commands([Command("redrive", "bot.cli.outbox.redrive", "")], metavar="COMMAND")
    with pytest.raises(SystemExit):
        parser.parse_args(given)
    message = capsys.readouterr().err
    assert words in message
    assert ("; " in message) is (given != ["zzz"])


def test_interrupted_import_exits_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupt)
    assert main(["run"]) == 130
    assert capsys.readouterr() == ("", "")


def test_demo_names_missing_package() -> None:
    """As in the container, which has nothing to play it on."""
    code = "import sys; sys.modules['rich'] = None\nfrom bot.cli.main import main\nsys.exit(main(['demo']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("voice-relay: the demo lacks the package rich")
    assert done.stderr.endswith(": install voice-relay[local]\n")
    assert done.stderr.count("\n") == 1


def test_former_names_lead_to_commands() -> None:
    names = {command.name for _, command in ALL}
    assert set(RENAMED.values()) <= names
    assert not names & RENAMED.keys()
