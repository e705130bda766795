"""``voice-relay trace``: what became of an event, in every lane that it went to."""

import argparse
from collections.abc import Iterator
from typing import Final

from bot.cli.outbox import find_data_dir
from bot.cli.outbox_view import describe_trace, letter_facts, read_event, render_failure, render_lane
from bot.clock import format_ms, system_clock
from bot.outbox.inspection import open_ledger
from bot.outbox.records import Queued, Receipt, Trace
from bot.routing.lane import Lane
from bot.text import Answer, count, join_blocks, render_facts, render_for_machine, render_moment
from bot.ulid import milliseconds_of

_UNKNOWN: Final = (
    "{} is unknown: it was never captured here, it was undone while it settled, or its receipt is older than "
    "VOICE_RELAY_RECEIPTS_KEPT_S"
)

Facts = list[tuple[str, str]]


def answer_trace(arguments: argparse.Namespace) -> Answer:
    """Tell what became of the event; raises StoreError without an outbox."""
    event_id: str = arguments.event_id
    with open_ledger(find_data_dir(arguments)) as ledger:
        trace = ledger.trace(event_id)
    received_ms = _received(event_id)
    problems = [] if trace else [_UNKNOWN.format(event_id)]
    if arguments.json:
        described = {
            "event_id": event_id,
            "received": None if received_ms is None else format_ms(received_ms),
            "places": describe_trace(trace),
        }
        return Answer(render_for_machine(described), problems)
    return Answer(render_trace(event_id, received_ms, trace, system_clock()) if trace else [], problems)


def _received(event_id: str) -> int | None:
    """Return when the event was captured, which its id says."""
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
        facts.append(("type", f"{event.get('type', 'unknown')}, {event.get('subject', 'of nobody')}"))
    return join_blocks(
        [f"event {event_id}", *render_facts(facts, indent="  ")],
        *(
            [f"{render_lane(lane)}: {state}", *render_facts(found, indent="  ")]
            for lane, state, found in _places(trace, now_ms)
        ),
    )


def _places(trace: Trace, now_ms: int) -> Iterator[tuple[Lane, str, Facts]]:
    """Yield each lane that the event stands in, how it stands there, and what is known of it."""
    for held in trace.held:
        due = render_moment(held.due_ms, now_ms)
        yield held.lane, "held until it has settled", [("destination", held.destination), ("due", due)]
    for queued in trace.queued:
        state = "waiting" if queued.event.execution is None else "on its way"
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
    flight = queued.flight
    if flight is not None:
        name = "batch" if queued.event.execution else "batch before"
        begun = render_moment(flight.created_ms, now_ms)
        facts += [(name, f"{flight.execution}, {count(flight.events, 'event')}, begun {begun}")]
        if flight.attempts:
            facts += [("attempts", f"{flight.attempts} failed; the last: {render_failure(flight, now_ms)}")]
    return facts


def _receipt_facts(receipt: Receipt, now_ms: int) -> Facts:
    return [
        ("batch", f"{receipt.execution}, begun {render_moment(receipt.created_ms, now_ms)}"),
        ("attempts", str(receipt.attempts)),
        ("delivered", render_moment(receipt.delivered_ms, now_ms)),
        ("execution", receipt.arn or "the API did not say its ARN; its name is the batch's"),
    ]
