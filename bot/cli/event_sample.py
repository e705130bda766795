"""``voice-relay events sample``: an example of an event, or of the input of an execution with it."""

from dataclasses import dataclass

from bot.cli.parser import Arguments, CommandParser
from bot.console import EXIT_DONE, Console
from bot.text import render_for_machine
from bot.voice.samples import KINDS, build_sample


@dataclass(frozen=True, slots=True)
class Options:
    """``whole``: the input of an execution with the event, instead of the event alone."""

    kind: str
    whole: bool


def add_arguments(parser: CommandParser) -> None:
    parser.description = (
        "Print an example of a kind of event, for rules check --event or for a workflow's test."
    )
    parser.add_argument("kind", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument(
        "--input", action="store_true", help="print the whole input of an execution with this event"
    )


def read_options(arguments: Arguments) -> Options:
    return Options(arguments.kind, arguments.input)


def run(options: Options, console: Console) -> int:
    event = build_sample(options.kind)
    whole = {"id": event["id"], "destination": "default", "parameters": {}, "events": [event]}
    console.say(*render_for_machine(whole if options.whole else dict(event)))
    return EXIT_DONE
