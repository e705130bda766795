"""``voice-relay outbox drop``: deletes dead letters for good, after asking."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.cli.outbox.choice import Choice, add_choice, choose, name_unknown, read_choice
from bot.cli.outbox.data_dir import add_data_dir, find_data_dir
from bot.cli.parser import Arguments, CommandParser
from bot.console import Console
from bot.outbox.inspection import open_inspection
from bot.text import count, render_for_machine

_NOT_DROPPED: Final = "nothing was dropped"


@dataclass(frozen=True, slots=True)
class Options:
    """Which dead letters, whether to drop them without asking, and how to answer."""

    choice: Choice
    data_dir: Path
    json: bool
    yes: bool


def add_arguments(parser: CommandParser) -> None:
    parser.description = "Delete dead letters for good."
    parser.epilog = (
        "Exit codes: 0 dropped, 1 an id is unknown or the answer was no, 2 wrong usage, 3 no usable outbox."
    )
    add_choice(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    parser.add_json()
    add_data_dir(parser)


def read_options(arguments: Arguments) -> Options:
    return Options(read_choice(arguments), find_data_dir(arguments), arguments.json, arguments.yes)


def run(options: Options, console: Console) -> int:
    with open_inspection(options.data_dir) as inspection:
        chosen = choose(inspection, options.choice)
    problems = name_unknown(chosen)
    if chosen.letter_ids and not options.yes:
        question = f"Delete {count(len(chosen.letter_ids), 'dead letter')} for good?"
        if not console.confirm(question, otherwise=_NOT_DROPPED):
            return console.report([], [_NOT_DROPPED, *problems])
    with open_inspection(options.data_dir, mode="rw") as inspection:
        dropped = inspection.drop(chosen.letter_ids)
    if options.json:
        return console.report(render_for_machine({"dropped": dropped, "unknown": chosen.unknown}), problems)
    if not chosen.letter_ids and problems:
        return console.report([], problems)
    return console.report([f"dropped {count(dropped, 'dead letter')}"], problems)
