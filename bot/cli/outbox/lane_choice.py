"""Which lanes are meant: those of a workflow, or the one of a guild."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.cli.outbox.data_dir import add_data_dir, find_data_dir
from bot.cli.parser import Arguments, CommandParser, snowflake
from bot.outbox.inspection import Inspection, open_inspection
from bot.outbox.lane_marks import LaneMarks, LaneState

EXIT_CODES: Final = "Exit codes: 0 done, 1 there is no such lane, 2 wrong usage, 3 no usable outbox."


@dataclass(frozen=True, slots=True)
class LaneChoice:
    """Without ``guild_id``, every lane that the workflow has now."""

    workflow: str
    guild_id: str | None

    def __str__(self) -> str:
        guild = "" if self.guild_id is None else f", guild {self.guild_id}"
        return f"workflow {self.workflow}{guild}"


@dataclass(frozen=True, slots=True)
class Options:
    """Which lanes, in which outbox, and how to answer."""

    choice: LaneChoice
    data_dir: Path
    json: bool


@dataclass(frozen=True, slots=True)
class Marked:
    """Of so many ``lanes``, in which ``waiting`` events wait, ``changed`` were not marked so before."""

    lanes: int
    changed: int
    waiting: int
    problems: list[str]


def add_lane_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "workflow", metavar="WORKFLOW", help="its lanes, of which it has one for each guild that had an event"
    )
    parser.add_argument("--guild", type=snowflake, metavar="ID", help="only the lane of this guild")
    parser.add_json()
    add_data_dir(parser)


def read_options(arguments: Arguments) -> Options:
    choice = LaneChoice(arguments.workflow, arguments.guild)
    return Options(choice, find_data_dir(arguments), arguments.json)


def find_lanes(inspection: Inspection, choice: LaneChoice) -> tuple[list[LaneState], list[str]]:
    """Return the lanes; if there are none, none and a sentence that says so."""
    lanes = inspection.lane_marks.find(choice.workflow, choice.guild_id)
    if lanes:
        return lanes, []
    known = ", ".join(inspection.lane_marks.workflows()) or "no workflow yet"
    return [], [f"there is no lane of {choice}: the outbox has lanes of {known}"]


def mark_lanes(options: Options, mark: Callable[[LaneMarks, list[LaneState]], int]) -> Marked:
    """Find the lanes and *mark* them, which returns how many that changed."""
    with open_inspection(options.data_dir, mode="rw") as inspection:
        lanes, problems = find_lanes(inspection, options.choice)
        changed = mark(inspection.lane_marks, lanes)
    return Marked(len(lanes), changed, sum(lane.events for lane in lanes), problems)
