"""``voice-relay outbox drop-lane``: deletes what waits in lanes, after asking."""

from dataclasses import dataclass
from typing import Final

from bot.cli.outbox import lane_choice
from bot.cli.outbox.lane_choice import add_lane_arguments, find_lanes
from bot.cli.parser import Arguments, CommandParser
from bot.console import Console
from bot.outbox.inspection import open_inspection
from bot.text import count, render_for_machine

_NOT_DROPPED: Final = "nothing was dropped"
_WHEN: Final = (
    "A running relay deletes them within a few seconds, a thousand at a time; otherwise the next one does "
    "once it has started."
)


@dataclass(frozen=True, slots=True)
class Options:
    """Which lanes, and whether to drop without asking."""

    lanes: lane_choice.Options
    yes: bool


def add_arguments(parser: CommandParser) -> None:
    parser.description = (
        "Delete for good the events that wait in lanes now. Those in flight go on to their end, and dead "
        "letters stay."
    )
    parser.epilog = (
        "Exit codes: 0 dropped, 1 there is no such lane or the answer was no, 2 wrong usage, "
        "3 no usable outbox."
    )
    add_lane_arguments(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def read_options(arguments: Arguments) -> Options:
    return Options(lane_choice.read_options(arguments), arguments.yes)


def run(options: Options, console: Console) -> int:
    choice, data_dir = options.lanes.choice, options.lanes.data_dir
    with open_inspection(data_dir) as inspection:
        lanes, problems = find_lanes(inspection, choice)
    filled = [lane for lane in lanes if lane.events]
    events = sum(lane.events for lane in filled)
    what = f"{count(events, 'event')} in {count(len(filled), 'lane')} of {choice}"
    if filled and not options.yes and not console.confirm(f"Delete {what} for good?", otherwise=_NOT_DROPPED):
        return console.report([], [_NOT_DROPPED])
    with open_inspection(data_dir, mode="rw") as inspection:
        marked = inspection.lane_marks.drop(filled)
    if options.lanes.json:
        return console.report(render_for_machine({"lanes": marked, "events": events}), problems)
    if problems:
        return console.report([], problems)
    if not filled:
        return console.report([f"nothing waits in the lanes of {choice}"])
    return console.report([f"marked {what} to be dropped", _WHEN])
