"""``voice-relay events schema``: the JSON Schema of the events."""

from dataclasses import dataclass

from bot.cli.parser import Arguments, CommandParser
from bot.console import EXIT_DONE, Console
from bot.text import render_for_machine
from bot.voice.events import json_schema
from bot.voice.samples import KINDS, PREFIX


@dataclass(frozen=True, slots=True)
class Options:
    """``kind`` is ``None`` for the schema of every event."""

    kind: str | None


def add_arguments(parser: CommandParser) -> None:
    parser.description = "Print the JSON Schema of the events that workflows get, or of one kind of them."
    parser.add_argument("kind", nargs="?", choices=KINDS, metavar="KIND", help=", ".join(KINDS))


def read_options(arguments: Arguments) -> Options:
    return Options(arguments.kind)


def run(options: Options, console: Console) -> int:
    schema = json_schema(None if options.kind is None else PREFIX + options.kind)
    console.say(*render_for_machine(schema))
    return EXIT_DONE
