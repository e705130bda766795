"""``voice-relay outbox show``: dead letters or waiting events in full."""

from dataclasses import dataclass
from pathlib import Path

from bot.cli.outbox.choice import ID_HELP
from bot.cli.outbox.data_dir import add_data_dir, find_data_dir
from bot.cli.outbox.view import (
    describe_letter,
    describe_waiting,
    letter_facts,
    parse_body,
    render_lane,
    terms_facts,
)
from bot.cli.parser import Arguments, CommandParser
from bot.clock import system_clock
from bot.console import Console
from bot.outbox.inspection import open_inspection
from bot.outbox.records import Letter, Waiting
from bot.text import join_blocks, render_facts, render_for_machine, render_json, render_moment


@dataclass(frozen=True, slots=True)
class Options:
    """``id`` is the number of a dead letter, or the id of an event, which may stand in several lanes."""

    data_dir: Path
    id: str
    json: bool


def add_arguments(parser: CommandParser) -> None:
    parser.description = "Show a dead letter or a waiting event in full."
    parser.epilog = "Exit codes: 0 shown, 1 the id is unknown, 2 wrong usage, 3 no readable outbox."
    parser.add_argument("id", metavar="ID", help=ID_HELP)
    parser.add_json()
    add_data_dir(parser)


def read_options(arguments: Arguments) -> Options:
    return Options(find_data_dir(arguments), arguments.id, arguments.json)


def run(options: Options, console: Console) -> int:
    with open_inspection(options.data_dir) as inspection:
        letters = inspection.find_letters(options.id)
        events = inspection.find_waiting(options.id)
    if not letters and not events:
        problem = (
            f"no dead letter or waiting event {options.id}; for a delivered event, try voice-relay trace"
        )
        return console.report([], [problem])
    if options.json:
        described = {
            "dead_letters": [describe_letter(letter) for letter in letters],
            "waiting": [describe_waiting(event) for event in events],
        }
        return console.report(render_for_machine(described))
    now_ms = system_clock()
    blocks = [
        *(render_letter(letter, now_ms) for letter in letters),
        *(render_event(event, now_ms) for event in events),
    ]
    return console.report(join_blocks(*blocks))


def render_letter(letter: Letter, now_ms: int) -> list[str]:
    facts = [
        ("event", letter.event_id),
        ("lane", render_lane(letter.lane)),
        ("destination", letter.destination),
        *letter_facts(letter, now_ms),
    ]
    return _render(f"dead letter {letter.letter_id}", facts, letter.body)


def render_event(event: Waiting, now_ms: int) -> list[str]:
    facts = [
        ("lane", render_lane(event.lane)),
        ("destination", event.destination),
        ("committed", render_moment(event.entered_ms, now_ms)),
        ("in flight as", event.execution or "not in flight"),
        *terms_facts(event.parameters, event.signal),
    ]
    return _render(f"event {event.event_id}", facts, event.body)


def _render(title: str, facts: list[tuple[str, str]], body: str) -> list[str]:
    return [title, *render_facts(facts, indent="  "), *render_json(parse_body(body))]
