"""``voice-relay outbox list``: the dead letters, or the events that wait."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.cli.outbox.data_dir import add_data_dir, find_data_dir
from bot.cli.outbox.view import describe_letter, describe_waiting, type_of
from bot.cli.parser import Arguments, CommandParser, positive
from bot.console import Console
from bot.outbox.inspection import open_inspection
from bot.outbox.records import Letter, Waiting
from bot.text import count, render_for_machine, render_table, render_time

_LIMIT: Final = 50


@dataclass(frozen=True, slots=True)
class Options:
    """Dead letters with ``reason`` in their reason, or else events that are ``waiting``."""

    data_dir: Path
    waiting: bool
    reason: str
    limit: int
    json: bool


def add_arguments(parser: CommandParser) -> None:
    parser.description = "List the newest dead letters; with --waiting, the events still to be delivered."
    parser.epilog = "Exit codes: 0 shown, 2 wrong usage, 3 no readable outbox."
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--waiting", action="store_true", help="events that wait or are in flight")
    which.add_argument("--reason", default="", metavar="TEXT", help="those with this text in their reason")
    parser.add_argument(
        "--limit", type=positive, default=_LIMIT, metavar="N", help="how many (default: %(default)s)"
    )
    parser.add_json()
    add_data_dir(parser)


def read_options(arguments: Arguments) -> Options:
    return Options(
        find_data_dir(arguments), arguments.waiting, arguments.reason, arguments.limit, arguments.json
    )


def run(options: Options, console: Console) -> int:
    with open_inspection(options.data_dir) as inspection:
        if options.waiting:
            events, total = inspection.list_waiting(limit=options.limit)
            lines = render_waiting(events, total)
            described = {"waiting": [describe_waiting(event) for event in events], "total": total}
        else:
            letters, total = inspection.list_letters(limit=options.limit, reason=options.reason)
            lines = render_letters(letters, total)
            described = {"dead_letters": [describe_letter(letter) for letter in letters], "total": total}
    return console.report(render_for_machine(described) if options.json else lines)


def render_letters(letters: Sequence[Letter], total: int) -> list[str]:
    if not letters:
        return ["no dead letters"]
    rows = [
        (
            str(letter.letter_id),
            render_time(letter.died_ms),
            type_of(letter.body),
            letter.lane.guild_id,
            letter.event_id,
            ("(marked for redrive) " if letter.redrive else "") + letter.reason,
        )
        for letter in letters
    ]
    table = render_table(("ID", "DIED", "TYPE", "GUILD", "EVENT", "REASON"), rows)
    return [*table, *_render_rest(total - len(rows), "older one")]


def render_waiting(events: Sequence[Waiting], total: int) -> list[str]:
    if not events:
        return ["no events are waiting"]
    rows = [
        (
            event.event_id,
            render_time(event.entered_ms),
            type_of(event.body),
            event.lane.workflow,
            event.lane.guild_id,
            event.execution or "-",
        )
        for event in events
    ]
    table = render_table(("EVENT", "COMMITTED", "TYPE", "WORKFLOW", "GUILD", "IN FLIGHT AS"), rows)
    return [*table, *_render_rest(total - len(rows), "later one")]


def _render_rest(left_out: int, noun: str) -> list[str]:
    return [f"and {count(left_out, noun)}: --limit shows more"] if left_out else []
