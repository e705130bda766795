"""``voice-relay outbox release``: lets parked lanes go on."""

from typing import Final

from bot.cli.outbox.lane_choice import EXIT_CODES, Options, add_lane_arguments, mark_lanes, read_options
from bot.cli.parser import CommandParser
from bot.console import Console
from bot.outbox.lane_marks import LaneMarks
from bot.text import count, render_for_machine

__all__ = ("add_arguments", "read_options", "run")

_WHEN: Final = (
    "A running relay goes on with them within a few seconds; otherwise the next one does at its start."
)


def add_arguments(parser: CommandParser) -> None:
    parser.description = "Release parked lanes: what has gathered in them is sent, in order."
    parser.epilog = EXIT_CODES
    add_lane_arguments(parser)


def run(options: Options, console: Console) -> int:
    marked = mark_lanes(options, LaneMarks.release)
    before = marked.lanes - marked.changed
    if options.json:
        described = {"released": marked.changed, "not_parked": before, "waiting": marked.waiting}
        return console.report(render_for_machine(described), marked.problems)
    if marked.problems:
        return console.report([], marked.problems)
    line = f"released {count(marked.changed, 'lane')} of {options.choice}"
    if before:
        line += f", {before} more {'was' if before == 1 else 'were'} not parked"
    return console.report([f"{line}; {count(marked.waiting, 'event')} waiting", _WHEN])
