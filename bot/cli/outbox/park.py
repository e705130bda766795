"""``voice-relay outbox park``: lets a workflow's events gather instead of being sent."""

from typing import Final

from bot.cli.outbox.lane_choice import (
    EXIT_CODES,
    Options,
    Wording,
    add_lane_arguments,
    mark_lanes,
    read_options,
    report_marked,
)
from bot.cli.parser import CommandParser
from bot.console import Console
from bot.outbox.lane_marks import LaneMarks

__all__ = ("add_arguments", "read_options", "run")

_WORDING: Final = Wording(
    "parked",
    "parked already",
    "parked_before",
    "A running relay parks them within a few seconds; otherwise the next one does at its start. Their events "
    "expire after VOICE_RELAY_MAX_EVENT_AGE_S as others do.",
)


def add_arguments(parser: CommandParser) -> None:
    parser.description = (
        "Park lanes: they begin no more batches until they are released, and their events gather, in order. "
        "A batch in flight goes on to its end. A guild that has no lane yet gets one that is not parked."
    )
    parser.epilog = EXIT_CODES
    add_lane_arguments(parser)


def run(options: Options, console: Console) -> int:
    return report_marked(options, mark_lanes(options, LaneMarks.park), _WORDING, console)
