"""``voice-relay outbox release``: lets parked lanes go on."""

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
    "released",
    "not parked",
    "not_parked",
    "A running relay goes on with them within a few seconds; otherwise the next one does at its start.",
)


def add_arguments(parser: CommandParser) -> None:
    parser.description = "Release parked lanes: what has gathered in them is sent, in order."
    parser.epilog = EXIT_CODES
    add_lane_arguments(parser)


def run(options: Options, console: Console) -> int:
    return report_marked(options, mark_lanes(options, LaneMarks.release), _WORDING, console)
