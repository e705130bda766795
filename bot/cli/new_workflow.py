"""``voice-relay workflow new``: writes a starting point for a workflow of one's own, with a test."""

import importlib.resources
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.cli.parser import Arguments, CommandParser
from bot.cli.rules_view import render_rule_for
from bot.console import EXIT_DONE, Console
from bot.errors import RelayError, SettingsError
from workflow.registry import WORKFLOWS

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_STARTER: Final = importlib.resources.files("workflow") / "starter"


@dataclass(frozen=True, slots=True)
class Options:
    """Where to write the files."""

    name: str
    directory: Path


def add_arguments(parser: CommandParser) -> None:
    parser.description = (
        "Write NAME.asl.json, a workflow that posts a greeting, and test_NAME.py, which runs it on an "
        "embedded AWS. No file is overwritten."
    )
    parser.epilog = "workflow/OWN.md teaches the rest in ten minutes."
    parser.add_argument("name", metavar="NAME", help="by which rules name it: letters, digits, - and _")
    parser.add_argument(
        "directory", nargs="?", type=Path, default=Path(), metavar="DIR", help="default: the present one"
    )


def read_options(arguments: Arguments) -> Options:
    name = arguments.name
    if not _NAME.fullmatch(name):
        raise SettingsError([f"{name!r} is not a workflow's name: 1 to 64 letters, digits, - and _"])
    if name in WORKFLOWS:
        raise SettingsError([f"a workflow {name} comes with voice-relay: choose another name"])
    return Options(name, arguments.directory)


def run(options: Options, console: Console) -> int:
    name, folder = options.name, options.directory
    test = f"test_{re.sub(r'-', '_', name)}.py"
    files = {
        folder / f"{name}.asl.json": _read("definition.asl.json"),
        folder / test: _read("test_starter.py.txt").replace("test_starter.py", test).replace("starter", name),
    }
    if there := [str(path) for path in files if path.exists()]:
        raise RelayError(f"{' and '.join(there)} would be overwritten: choose another name or directory")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise RelayError(f"{error.filename} cannot be written: {error.strerror}") from error
    definition, tested = files
    console.say(
        f"Wrote {definition} and {tested}.",
        f"To try it:       pytest {tested}",
        f"On AWS:          voice-relay deploy workflow {definition} --posts",
        f"On one machine:  VOICE_RELAY_WORKFLOWS_DIR={folder}",
        "In either case, a rule has to send events to it:",
        *render_rule_for(name),
    )
    return EXIT_DONE


def _read(name: str) -> str:
    return (_STARTER / name).read_text(encoding="utf-8")
