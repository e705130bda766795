"""``voice-relay outbox redrive``: marks dead letters to be sent again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.cli.outbox.choice import Choice, add_choice, choose, name_unknown, read_choice
from bot.cli.outbox.data_dir import add_data_dir, find_data_dir
from bot.cli.parser import Arguments, CommandParser
from bot.console import Console
from bot.outbox.inspection import open_inspection
from bot.text import count, render_for_machine

_WHEN: Final = (
    "A running relay redrives them within a few seconds, a thousand at a time; otherwise the next one does "
    "once it has started."
)


@dataclass(frozen=True, slots=True)
class Options:
    """Which dead letters, and how to answer."""

    choice: Choice
    data_dir: Path
    json: bool


def add_arguments(parser: CommandParser) -> None:
    parser.description = (
        "Mark dead letters for redrive. The relay sends them again, at the end of their lanes, with the same "
        "event ids in a new execution."
    )
    parser.epilog = "Exit codes: 0 marked, 1 an id is unknown, 2 wrong usage, 3 no usable outbox."
    add_choice(parser)
    parser.add_json()
    add_data_dir(parser)


def read_options(arguments: Arguments) -> Options:
    return Options(read_choice(arguments), find_data_dir(arguments), arguments.json)


def run(options: Options, console: Console) -> int:
    with open_inspection(options.data_dir, mode="rw") as inspection:
        chosen = choose(inspection, options.choice)
        marked = inspection.mark_for_redrive(chosen.letter_ids)
    before = len(chosen.letter_ids) - marked
    problems = name_unknown(chosen)
    if options.json:
        described = {"marked": marked, "marked_before": before, "unknown": chosen.unknown}
        return console.report(render_for_machine(described), problems)
    if not chosen.letter_ids and problems:
        return console.report([], problems)
    lines = [f"marked {count(marked, 'dead letter')} for redrive"]
    if before:
        lines[0] += f", {before} more {'was' if before == 1 else 'were'} marked already"
    if chosen.letter_ids:
        lines.append(_WHEN)
    return console.report(lines, problems)
