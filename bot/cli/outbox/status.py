"""``voice-relay outbox status``: what waits, what is in flight, and dead letters by reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.cli.outbox.data_dir import add_data_dir, find_data_dir
from bot.cli.outbox.view import describe_flight, describe_lane, render_progress
from bot.cli.parser import Arguments, CommandParser
from bot.clock import system_clock
from bot.console import Console
from bot.outbox.inspection import open_inspection
from bot.outbox.records import Flight, Parked, Status
from bot.text import (
    count,
    join_blocks,
    render_bytes,
    render_facts,
    render_for_machine,
    render_moment,
    render_span,
    render_table,
    render_time,
    time_for_machine,
)


@dataclass(frozen=True, slots=True)
class Options:
    """Which outbox, and how to answer."""

    data_dir: Path
    json: bool


def add_arguments(parser: CommandParser) -> None:
    parser.description = "Count what waits in which lane, what is in flight, and dead letters by reason."
    parser.epilog = "Exit codes: 0 shown, 2 wrong usage, 3 no readable outbox."
    parser.add_json()
    add_data_dir(parser)


def read_options(arguments: Arguments) -> Options:
    return Options(find_data_dir(arguments), arguments.json)


def run(options: Options, console: Console) -> int:
    with open_inspection(options.data_dir) as inspection:
        status = inspection.read_status()
    if options.json:
        return console.report(render_for_machine(describe_status(status)))
    return console.report(render_status(status, system_clock()))


def render_status(status: Status, now_ms: int) -> list[str]:
    dead = count(status.letters, "dead letter")
    if status.marked:
        dead += f", {status.marked} of them marked for redrive"
    receipts = count(status.receipts, "receipt")
    if status.oldest_receipt_ms is not None:
        receipts += f", the oldest of {render_moment(status.oldest_receipt_ms, now_ms)}"
    used, log = render_bytes(status.used_bytes), render_bytes(status.wal_bytes)
    facts = [
        ("file", f"{status.path}, {render_bytes(status.file_bytes)} ({used} in use), log {log}"),
        ("waiting", f"{count(status.waiting, 'event')} in {count(status.lanes, 'lane')}"),
        ("parked", _render_parked_count(status.parked)),
        ("in flight", f"{len(status.flights)} {'batch' if len(status.flights) == 1 else 'batches'}"),
        ("debouncing", count(status.held, "event")),
        ("dead", dead),
        ("delivered", receipts),
    ]
    return join_blocks(
        list(render_facts(facts)),
        _render_queues(status, now_ms),
        _render_parked(status.parked),
        _render_flights(status.flights, now_ms),
        _render_reasons(status),
    )


def _render_queues(status: Status, now_ms: int) -> list[str]:
    rows = [
        (*queue.lane, str(queue.events), render_span(now_ms - queue.oldest_ms)) for queue in status.queues
    ]
    if not rows:
        return []
    left_out = status.lanes - len(rows)
    more = [f"  and {count(left_out, 'shorter one')}"] if left_out else []
    head = ("WORKFLOW", "GUILD", "EVENTS", "OLDEST HAS WAITED")
    return ["Longest queues", *render_table(head, rows, indent="  "), *more]


def _render_parked_count(parked: Parked) -> str:
    line = f"{count(parked.events, 'event')} in {count(parked.lanes, 'lane')}"
    return (
        f"{line}; what is dropped from {count(parked.to_drop, 'lane')} is to be deleted"
        if parked.to_drop
        else line
    )


def _render_parked(parked: Parked) -> list[str]:
    rows = [(*lane, str(events)) for lane, events in parked.longest]
    if not rows:
        return []
    left_out = parked.lanes - len(rows)
    more = [f"  and {count(left_out, 'shorter one')}"] if left_out else []
    return ["Parked lanes", *render_table(("WORKFLOW", "GUILD", "EVENTS"), rows, indent="  "), *more]


def _render_flights(flights: Sequence[Flight], now_ms: int) -> list[str]:
    rows = [
        (
            flight.execution,
            flight.lane.workflow,
            str(flight.events),
            render_time(flight.created_ms),
            str(flight.attempts),
            render_progress(flight, now_ms),
        )
        for flight in flights
    ]
    head = ("EXECUTION", "WORKFLOW", "EVENTS", "BEGUN", "FAILED", "PROGRESS")
    return ["Batches in flight", *render_table(head, rows, indent="  ")] if rows else []


def _render_reasons(status: Status) -> list[str]:
    rows = [(str(letters), reason) for reason, letters in status.reasons]
    if not rows:
        return []
    left_out = status.reason_count - len(rows)
    more = [f"  and {count(left_out, 'rarer reason')}"] if left_out else []
    return ["Dead letters by reason", *render_table(("LETTERS", "REASON"), rows, indent="  "), *more]


def describe_status(status: Status) -> dict[str, Any]:
    oldest_ms = status.oldest_receipt_ms
    return {
        "file": str(status.path),
        "file_bytes": status.file_bytes,
        "used_bytes": status.used_bytes,
        "wal_bytes": status.wal_bytes,
        "waiting": status.waiting,
        "lanes": status.lanes,
        "longest_queues": [
            {
                **describe_lane(queue.lane),
                "events": queue.events,
                "first_committed": time_for_machine(queue.oldest_ms),
            }
            for queue in status.queues
        ],
        "parked": status.parked.events,
        "parked_lanes": status.parked.lanes,
        "most_parked": [{**describe_lane(lane), "events": events} for lane, events in status.parked.longest],
        "lanes_to_drop": status.parked.to_drop,
        "in_flight": [describe_flight(flight) for flight in status.flights],
        "debouncing": status.held,
        "dead_letters": status.letters,
        "dead_letters_to_redrive": status.marked,
        "reasons": [{"reason": reason, "dead_letters": letters} for reason, letters in status.reasons],
        "reason_count": status.reason_count,
        "receipts": status.receipts,
        "oldest_receipt": None if oldest_ms is None else time_for_machine(oldest_ms),
    }
