"""Which lanes are meant, those of a workflow or the one of a guild; marks them, and says what changed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.cli.outbox.data_dir import add_data_dir, find_data_dir
from bot.cli.parser import Arguments, CommandParser, snowflake
from bot.console import Console
from bot.outbox.inspection import Inspection, open_inspection
from bot.outbox.lane_marks import LaneMarks, LaneState
from bot.text import count, render_for_machine

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


@dataclass(frozen=True, slots=True)
class Wording:
    """What a mark does to a lane; what is said, and its key in JSON, of one that has it; when it acts."""

    done: str
    unchanged: str
    unchanged_key: str
    when: str


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


def report_marked(options: Options, marked: Marked, wording: Wording, console: Console) -> int:
    same = marked.lanes - marked.changed
    if options.json:
        described = {wording.done: marked.changed, wording.unchanged_key: same, "waiting": marked.waiting}
        return console.report(render_for_machine(described), marked.problems)
    if marked.problems:
        return console.report([], marked.problems)
    waiting = f"{count(marked.waiting, 'event')} waiting"
    verb = "was" if same == 1 else "were"
    if not marked.changed:
        unchanged = f"{count(same, 'lane')} of {options.choice} {verb} {wording.unchanged}"
        return console.report([f"nothing changed: {unchanged}; {waiting}"])
    line = f"{wording.done} {count(marked.changed, 'lane')} of {options.choice}"
    if same:
        line += f", {same} more {verb} {wording.unchanged}"
    return console.report([f"{line}; {waiting}", wording.when])
