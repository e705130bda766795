"""``voice-relay trace``: what became of an event, in every lane that it went to."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bot.cli.outbox.data_dir import add_data_dir, find_data_dir
from bot.cli.outbox.view import (
    describe_flight,
    describe_lane,
    describe_letter,
    letter_facts,
    read_event,
    render_failure,
    render_lane,
    render_progress,
    render_signal,
    terms_facts,
)
from bot.cli.parser import Arguments, CommandParser
from bot.clock import system_clock
from bot.console import Console
from bot.outbox.inspection import open_inspection
from bot.outbox.records import Queued, Receipt, Trace
from bot.routing.lane import Lane
from bot.text import count, join_blocks, render_facts, render_for_machine, render_moment, time_for_machine
from bot.ulid import milliseconds_of

_UNKNOWN: Final = (
    "{} is unknown: it was never captured here, was cancelled by debounce, or its receipt is older than "
    "VOICE_RELAY_RECEIPTS_KEPT_S"
)

Facts = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Options:
    """Which event, in which outbox, and how to answer."""

    event_id: str
    data_dir: Path
    json: bool


def add_arguments(parser: CommandParser) -> None:
    parser.description = "Show where an event waits, which execution it started, or why it started none."
    parser.epilog = "Exit codes: 0 found, 1 unknown, 2 wrong usage, 3 no readable outbox."
    parser.add_argument("event_id", metavar="EVENT_ID")
    parser.add_json()
    add_data_dir(parser)


def read_options(arguments: Arguments) -> Options:
    return Options(arguments.event_id, find_data_dir(arguments), arguments.json)


def run(options: Options, console: Console) -> int:
    with open_inspection(options.data_dir) as inspection:
        trace = inspection.trace(options.event_id)
    received_ms = _read_time(options.event_id)
    problems = [] if trace else [_UNKNOWN.format(options.event_id)]
    if options.json:
        lines = render_for_machine(describe_trace(options.event_id, received_ms, trace))
    else:
        lines = render_trace(options.event_id, received_ms, trace, system_clock()) if trace else []
    return console.report(lines, problems)


def _read_time(event_id: str) -> int | None:
    """Return when the event was captured, according to its id."""
    try:
        return milliseconds_of(event_id)
    except ValueError:
        return None


def render_trace(event_id: str, received_ms: int | None, trace: Trace, now_ms: int) -> list[str]:
    facts: Facts = []
    if received_ms is not None:
        facts.append(("received", render_moment(received_ms, now_ms)))
    bodies = [each.event.body for each in trace.queued]
    bodies += [held.body for held in trace.held] + [letter.body for letter in trace.letters]
    if bodies:
        event = read_event(bodies[0])
        facts.append(("type", f"{event.get('type', 'unknown')}, {event.get('subject', 'no subject')}"))
    return join_blocks(
        [f"event {event_id}", *render_facts(facts, indent="  ")],
        *(
            [f"{render_lane(lane)}: {state}", *render_facts(found, indent="  ")]
            for lane, state, found in _places(trace, now_ms)
        ),
    )


def _places(trace: Trace, now_ms: int) -> Iterator[tuple[Lane, str, Facts]]:
    """Yield each lane that the event is in, its state there, and facts about it."""
    for held in trace.held:
        due = render_moment(held.due_ms, now_ms)
        yield held.lane, "held by debounce", [("destination", held.destination), ("due", due)]
    for queued in trace.queued:
        state = "waiting" if queued.event.execution is None else "in flight"
        yield queued.event.lane, state, _queued_facts(queued, now_ms)
    for receipt in trace.receipts:
        yield receipt.lane, "delivered", _receipt_facts(receipt, now_ms)
    for letter in trace.letters:
        facts = [("destination", letter.destination), *letter_facts(letter, now_ms)]
        yield letter.lane, f"dead letter {letter.letter_id}", facts


def _queued_facts(queued: Queued, now_ms: int) -> Facts:
    facts = [
        ("destination", queued.event.destination),
        ("committed", render_moment(queued.event.entered_ms, now_ms)),
        ("position", f"{queued.position} of {queued.length} in its lane"),
    ]
    facts += terms_facts(queued.event.parameters, queued.event.signal)
    flight = queued.flight
    if flight is not None:
        name = "batch" if queued.event.execution else "batch before"
        begun = render_moment(flight.created_ms, now_ms)
        facts += [(name, f"{flight.execution}, {count(flight.events, 'event')}, begun {begun}")]
        if flight.signal is not None and queued.event.execution:
            facts += [("goes to", render_signal(flight.signal, flight.target))]
        if flight.attempts:
            facts += [("attempts", f"{flight.attempts} failed; last error: {render_failure(flight, now_ms)}")]
        if flight.arn is not None:
            facts += [("execution", flight.arn), ("progress", render_progress(flight, now_ms))]
    return facts


def _receipt_facts(receipt: Receipt, now_ms: int) -> Facts:
    facts = [
        ("batch", f"{receipt.execution}, begun {render_moment(receipt.created_ms, now_ms)}"),
        ("attempts", str(receipt.attempts)),
        ("delivered", render_moment(receipt.delivered_ms, now_ms)),
    ]
    if receipt.signal is not None:
        went = render_signal(receipt.signal, receipt.target)
        return [*facts, ("signal", went), ("outcome", receipt.outcome or "unknown")]
    return [
        *facts,
        ("execution", receipt.arn or "the API did not return its ARN; its name is the batch's"),
    ]


def describe_trace(event_id: str, received_ms: int | None, trace: Trace) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "received": None if received_ms is None else time_for_machine(received_ms),
        "places": _describe_places(trace),
    }


def _describe_places(trace: Trace) -> list[dict[str, Any]]:
    """Return each place that the event is in, with its ``state``."""
    held = (
        {
            "state": "debouncing",
            **describe_lane(each.lane),
            "destination": each.destination,
            "due": time_for_machine(each.due_ms),
        }
        for each in trace.held
    )
    queued = (
        {
            "state": "waiting" if each.event.execution is None else "in_flight",
            **describe_lane(each.event.lane),
            "destination": each.event.destination,
            "committed": time_for_machine(each.event.entered_ms),
            "position": each.position,
            "lane_length": each.length,
            "batch": None if each.flight is None else describe_flight(each.flight),
        }
        for each in trace.queued
    )
    receipts = (
        {
            "state": "delivered",
            **describe_lane(each.lane),
            "execution": each.execution,
            "execution_arn": each.arn or None,
            "attempts": each.attempts,
            "begun": time_for_machine(each.created_ms),
            "delivered": time_for_machine(each.delivered_ms),
            "signal": each.signal,
            "signalled_execution": each.target,
            "outcome": each.outcome,
        }
        for each in trace.receipts
    )
    letters = ({"state": "dead", **describe_letter(each)} for each in trace.letters)
    return [*held, *queued, *receipts, *letters]
