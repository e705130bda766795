"""The outbox as it is shown: ``render_*`` to a person, in local time, ``describe_*`` to a machine, in UTC."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bot.clock import format_ms
from bot.outbox.records import Flight, Letter, Status, Trace, Waiting
from bot.routing.lane import Lane
from bot.text import (
    count,
    join_blocks,
    render_bytes,
    render_facts,
    render_json,
    render_moment,
    render_span,
    render_table,
    render_time,
)


def render_status(status: Status, now_ms: int) -> list[str]:
    dead = count(status.letters, "dead letter")
    if status.marked:
        dead += f", {status.marked} of them about to be sent again"
    receipts = count(status.receipts, "receipt")
    if status.oldest_receipt_ms is not None:
        receipts += f", the oldest of {render_moment(status.oldest_receipt_ms, now_ms)}"
    used, log = render_bytes(status.used_bytes), render_bytes(status.wal_bytes)
    facts = [
        ("file", f"{status.path}, {render_bytes(status.file_bytes)} ({used} in use), log {log}"),
        ("waiting", f"{count(status.waiting, 'event')} in {count(status.lanes, 'lane')}"),
        ("in flight", f"{len(status.flights)} {'batch' if len(status.flights) == 1 else 'batches'}"),
        ("settling", count(status.held, "event")),
        ("dead", dead),
        ("delivered", receipts),
    ]
    return join_blocks(
        list(render_facts(facts)),
        _render_queues(status, now_ms),
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
    head = ("WORKFLOW", "GUILD", "EVENTS", "FIRST HAS WAITED")
    return ["Longest queues", *render_table(head, rows, indent="  "), *more]


def _render_flights(flights: Sequence[Flight], now_ms: int) -> list[str]:
    rows = [
        (
            flight.execution,
            flight.lane.workflow,
            str(flight.events),
            render_time(flight.created_ms),
            str(flight.attempts),
            render_failure(flight, now_ms),
        )
        for flight in flights
    ]
    head = ("EXECUTION", "WORKFLOW", "EVENTS", "BEGUN", "FAILED", "LAST ERROR")
    return ["Batches in flight", *render_table(head, rows, indent="  ")] if rows else []


def _render_reasons(status: Status) -> list[str]:
    rows = [(str(letters), reason) for reason, letters in status.reasons]
    if not rows:
        return []
    left_out = status.reason_count - len(rows)
    more = [f"  and {count(left_out, 'rarer reason')}"] if left_out else []
    return ["Dead letters by reason", *render_table(("LETTERS", "REASON"), rows, indent="  "), *more]


def render_failure(flight: Flight, now_ms: int) -> str:
    """Return the last error of a batch and how long ago that was; a hyphen if there was none."""
    if flight.last_attempt_ms is None:
        return "-"
    return f"{flight.last_error} ({render_span(now_ms - flight.last_attempt_ms)} ago)"


def render_letters(letters: Sequence[Letter], total: int) -> list[str]:
    if not letters:
        return ["no dead letters"]
    rows = [
        (
            str(letter.letter_id),
            render_time(letter.died_ms),
            _type_of(letter.body),
            letter.lane.guild_id,
            letter.event_id,
            ("(about to be sent again) " if letter.redrive else "") + letter.reason,
        )
        for letter in letters
    ]
    table = render_table(("ID", "DIED", "TYPE", "GUILD", "EVENT", "REASON"), rows)
    return [*table, *_render_rest(total - len(rows), "older one")]


def render_waiting(events: Sequence[Waiting], total: int) -> list[str]:
    if not events:
        return ["no events wait"]
    rows = [
        (
            event.event_id,
            render_time(event.entered_ms),
            _type_of(event.body),
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


def render_letter(letter: Letter, now_ms: int) -> list[str]:
    """Return the dead letter whole."""
    facts = [
        ("event", letter.event_id),
        ("lane", render_lane(letter.lane)),
        ("destination", letter.destination),
        *letter_facts(letter, now_ms),
    ]
    return [f"dead letter {letter.letter_id}", *render_facts(facts, indent="  "), *_render_body(letter.body)]


def letter_facts(letter: Letter, now_ms: int) -> list[tuple[str, str]]:
    """Return what became of the event of *letter*, and what may yet."""
    return [
        ("died", render_moment(letter.died_ms, now_ms)),
        ("reason", letter.reason),
        ("execution", f"{letter.execution}, refused" if letter.execution else "none: it was never sent"),
        ("redrive", "asked for" if letter.redrive else "not asked for"),
    ]


def render_event(event: Waiting, now_ms: int) -> list[str]:
    """Return an event that waits, whole."""
    facts = [
        ("lane", render_lane(event.lane)),
        ("destination", event.destination),
        ("committed", render_moment(event.entered_ms, now_ms)),
        ("in flight as", event.execution or "nothing yet"),
    ]
    return [f"event {event.event_id}", *render_facts(facts, indent="  "), *_render_body(event.body)]


def render_lane(lane: Lane) -> str:
    return f"workflow {lane.workflow}, guild {lane.guild_id}"


def _render_body(body: str) -> list[str]:
    return render_json(_loads(body))


def _type_of(body: str) -> str:
    event = read_event(body)
    return str(event.get("type", "-"))


def read_event(body: str) -> Mapping[str, Any]:
    """Return the event in *body*; empty if there is none in it."""
    event = _loads(body)
    return event if isinstance(event, dict) else {}


def _loads(body: str) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body


def describe_status(status: Status) -> dict[str, Any]:
    return {
        "file": str(status.path),
        "file_bytes": status.file_bytes,
        "used_bytes": status.used_bytes,
        "wal_bytes": status.wal_bytes,
        "waiting": status.waiting,
        "lanes": status.lanes,
        "longest_queues": [
            {**_of_lane(queue.lane), "events": queue.events, "first_committed": format_ms(queue.oldest_ms)}
            for queue in status.queues
        ],
        "in_flight": [describe_flight(flight) for flight in status.flights],
        "settling": status.held,
        "dead_letters": status.letters,
        "dead_letters_to_redrive": status.marked,
        "reasons": [{"reason": reason, "dead_letters": letters} for reason, letters in status.reasons],
        "reason_count": status.reason_count,
        "receipts": status.receipts,
        "oldest_receipt": _time(status.oldest_receipt_ms),
    }


def describe_flight(flight: Flight) -> dict[str, Any]:
    return {
        **_of_lane(flight.lane),
        "execution": flight.execution,
        "events": flight.events,
        "begun": format_ms(flight.created_ms),
        "failed_attempts": flight.attempts,
        "last_attempt": _time(flight.last_attempt_ms),
        "last_error": flight.last_error,
    }


def describe_letter(letter: Letter) -> dict[str, Any]:
    return {
        "id": letter.letter_id,
        **_of_lane(letter.lane),
        "destination": letter.destination,
        "event_id": letter.event_id,
        "died": format_ms(letter.died_ms),
        "reason": letter.reason,
        "execution": letter.execution,
        "redrive": letter.redrive,
        "event": _loads(letter.body),
    }


def describe_waiting(event: Waiting) -> dict[str, Any]:
    return {
        **_of_lane(event.lane),
        "destination": event.destination,
        "event_id": event.event_id,
        "committed": format_ms(event.entered_ms),
        "execution": event.execution,
        "event": _loads(event.body),
    }


def describe_trace(trace: Trace) -> list[dict[str, Any]]:
    """Return a place for each that the event stands in, with its ``state``."""
    held = (
        {
            "state": "settling",
            **_of_lane(each.lane),
            "destination": each.destination,
            "due": format_ms(each.due_ms),
        }
        for each in trace.held
    )
    queued = (
        {
            "state": "waiting" if each.event.execution is None else "in_flight",
            **_of_lane(each.event.lane),
            "destination": each.event.destination,
            "committed": format_ms(each.event.entered_ms),
            "position": each.position,
            "lane_length": each.length,
            "batch": None if each.flight is None else describe_flight(each.flight),
        }
        for each in trace.queued
    )
    receipts = (
        {
            "state": "delivered",
            **_of_lane(each.lane),
            "execution": each.execution,
            "execution_arn": each.arn or None,
            "attempts": each.attempts,
            "begun": format_ms(each.created_ms),
            "delivered": format_ms(each.delivered_ms),
        }
        for each in trace.receipts
    )
    letters = ({"state": "dead", **describe_letter(each)} for each in trace.letters)
    return [*held, *queued, *receipts, *letters]


def _of_lane(lane: Lane) -> dict[str, str]:
    return {"workflow": lane.workflow, "guild_id": lane.guild_id}


def _time(ms: int | None) -> str | None:
    return None if ms is None else format_ms(ms)
