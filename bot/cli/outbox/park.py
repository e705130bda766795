"""``voice-relay outbox park``: lets a workflow's events gather instead of being sent."""

from typing import Final

from bot.cli.outbox.lane_choice import EXIT_CODES, Options, add_lane_arguments, mark_lanes, read_options
from bot.cli.parser import CommandParser
from bot.console import Console
from bot.outbox.lane_marks import LaneMarks
from bot.text import count, render_for_machine

__all__ = ("add_arguments", "read_options", "run")

_WHEN: Final = (
    "A running relay parks them within a few seconds; otherwise the next one does at its start. Their events "
    "expire after VOICE_RELAY_MAX_EVENT_AGE_S as others do."
)


def add_arguments(parser: CommandParser) -> None:
    parser.description = (
        "Park lanes: they begin no more batches until they are released, and their events gather, in order. "
        "A batch in flight goes on to its end. A guild that has no lane yet gets one that is not parked."
    )
    parser.epilog = EXIT_CODES
    add_lane_arguments(parser)


def run(options: Options, console: Console) -> int:
    marked = mark_lanes(options, LaneMarks.park)
    before = marked.lanes - marked.changed
    if options.json:
        described = {"parked": marked.changed, "parked_before": before, "waiting": marked.waiting}
        return console.report(render_for_machine(described), marked.problems)
    if marked.problems:
        return console.report([], marked.problems)
    line = f"parked {count(marked.changed, 'lane')} of {options.choice}"
    if before:
        line += f", {before} more {'was' if before == 1 else 'were'} parked already"
    return console.report([f"{line}; {count(marked.waiting, 'event')} waiting", _WHEN])
