"""The tables of events and batches: cuts a lane's next batch, and settles one.

A lane's batch is a range of its events, written down before it is first sent, so that every attempt has the
same bytes under the same execution name.
"""

import dataclasses
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from bot.outbox.batch import Acceptance, Batch, Delivered, Failed
from bot.outbox.parameter_rows import ParameterNumbers
from bot.outbox.started_rows import (
    Terms,
    find_started,
    forget_started,
    put_started,
    read_signal,
    read_terms,
)
from bot.outbox.stretch import Stretch, read_stretch
from bot.routing.lane import Lane

_BEGIN: Final = (
    "INSERT INTO batch (lane_id, execution, first_seq, last_seq, created_ms, target, has_parameters) "
    "VALUES (?, ?, ?, ?, ?, ?, 1)"
)
_OPEN: Final = """
SELECT lane_id, execution, first_seq, last_seq, created_ms, attempts, arn, accepted_ms, has_parameters, target
FROM batch WHERE lane_id = coalesce(?, lane_id) ORDER BY first_seq
"""
_ACCEPT: Final = "UPDATE batch SET arn = ?, accepted_ms = ?, attempts = ? WHERE lane_id = ?"
_DROP_EVENTS: Final = """
DELETE FROM event WHERE lane_id = ?1 AND seq BETWEEN (SELECT first_seq FROM batch WHERE lane_id = ?1)
                                                 AND (SELECT last_seq FROM batch WHERE lane_id = ?1)
"""
_BURY: Final = """
INSERT INTO dead_letter
       (lane_id, event_id, destination, body, parameters_id, key, signal, execution, reason, died_ms)
SELECT lane_id, event_id, destination, body, parameters_id, key, signal, execution, ?, ?
FROM event JOIN batch USING (lane_id)
WHERE lane_id = ? AND seq BETWEEN first_seq AND last_seq
"""
_EXPIRED: Final = "SELECT seq FROM event WHERE lane_id = ? AND entered_ms < ? ORDER BY seq LIMIT ?"
_BURY_EXPIRED: Final = """
INSERT INTO dead_letter (lane_id, event_id, destination, body, parameters_id, key, signal, reason, died_ms)
SELECT lane_id, event_id, destination, body, parameters_id, key, signal,
       'expired: it waited for longer than MAX_EVENT_AGE_S', ?
FROM event WHERE seq IN ({places}) ORDER BY seq
"""
PUT_EVENT: Final = (
    "INSERT INTO event (lane_id, event_id, destination, body, parameters_id, key, signal, entered_ms) VALUES "
)
_PUT_RECEIPT: Final = """
INSERT OR REPLACE INTO receipt
       (execution, arn, lane_id, event_ids, attempts, created_ms, delivered_ms, signal, target, outcome)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_NOTE_FAILURE: Final = "UPDATE batch SET attempts = ?, last_attempt_ms = ?, last_error = ? WHERE lane_id = ?"


def open_batches(
    db: sqlite3.Connection,
    lanes: Mapping[int, Lane],
    parameters: ParameterNumbers,
    event_age_ms: int,
    *,
    only: int | None = None,
) -> list[Batch]:
    """Return the batches that were begun and not settled, as they were first sent; only the lane's, if named.

    One that was accepted comes without its body.
    """
    batches = []
    for row in db.execute(_OPEN, (only,)).fetchall():
        lane_id, execution, first_seq, last_seq, created_ms, attempts, arn, accepted_ms, has, target = row
        events = read_stretch(db, lane_id, first_seq=first_seq, last_seq=last_seq)
        terms = read_terms(db, events)
        handed = parameters.body(terms.parameters_id) if has else None
        batch = _build(lane_id, lanes[lane_id], execution, created_ms, events, terms, handed, event_age_ms)
        batch = dataclasses.replace(batch, sent_before=True)
        if terms.signal is not None:
            batch = dataclasses.replace(batch, signal=read_signal(db, terms.signal, target))
        if arn is not None:
            accepted = Acceptance(arn, attempts + 1, accepted_ms)
            batch = dataclasses.replace(batch, body=b"", accepted=accepted)
        batches.append(batch)
    return batches


def begin_batch(
    db: sqlite3.Connection,
    lane_id: int,
    lane: Lane,
    execution: str,
    now_ms: int,
    events: Stretch,
    parameters: ParameterNumbers,
    event_age_ms: int,
) -> Batch:
    """Write down that a batch of *events* is begun, and return it.

    One with a key is remembered under it, or goes as a signal to what is.
    """
    terms = read_terms(db, events)
    handed = parameters.body(terms.parameters_id)
    batch = _build(lane_id, lane, execution, now_ms, events, terms, handed, event_age_ms)
    target = None
    if terms.signal is not None:
        target = find_started(db, batch)
        batch = dataclasses.replace(batch, signal=read_signal(db, terms.signal, target))
    elif terms.key is not None:
        put_started(db, batch)
    db.execute(_BEGIN, (lane_id, execution, events.seqs[0], events.seqs[-1], now_ms, target))
    return batch


def _build(
    lane_id: int,
    lane: Lane,
    execution: str,
    created_ms: int,
    events: Stretch,
    terms: Terms,
    parameters: str | None,
    event_age_ms: int,
) -> Batch:
    """Return a batch of *events*; the same arguments give the same bytes."""
    destination = events.destinations[0]
    if terms.signal is None:
        body = _build_input(execution, destination, parameters, events.bodies)
    else:
        body = b'{"event":%b}' % events.bodies[0]
    return Batch(
        lane_id=lane_id,
        lane=lane,
        execution=execution,
        body=body,
        event_ids=events.event_ids,
        created_ms=created_ms,
        destination=destination,
        expires_ms=max(events.entered_ms) + event_age_ms,
        key=terms.key,
    )


def _build_input(execution: str, destination: str, parameters: str | None, bodies: Sequence[bytes]) -> bytes:
    """Return an execution's input; *parameters* are ``None`` if it was begun before inputs had any."""
    head = orjson.dumps({"id": execution, "destination": destination})[:-1]
    if parameters is not None:
        head = b'%b,"parameters":%b' % (head, parameters.encode())
    return b'%b,"events":[%b]}' % (head, b",".join(bodies))


def note_failure(db: sqlite3.Connection, failed: Failed, now_ms: int) -> None:
    db.execute(_NOTE_FAILURE, (failed.attempts, now_ms, failed.reason, failed.batch.lane_id))


def note_acceptance(db: sqlite3.Connection, lane_id: int, accepted: Acceptance | None) -> None:
    """Note that the lane's batch was accepted, or with ``None`` that the API knows nothing of it."""
    arn, attempts, accepted_ms = accepted or (None, 1, None)
    db.execute(_ACCEPT, (arn, accepted_ms, attempts - 1, lane_id))


def put_receipt(db: sqlite3.Connection, delivered: Delivered, now_ms: int) -> None:
    batch, signal = delivered.batch, delivered.batch.signal
    db.execute(
        _PUT_RECEIPT,
        (
            batch.execution,
            delivered.arn,
            batch.lane_id,
            ",".join(batch.event_ids),
            delivered.attempts,
            batch.created_ms,
            now_ms,
            None if signal is None else signal.name,
            None if signal is None else signal.execution,
            delivered.outcome,
        ),
    )
    if delivered.ended:
        forget_started(db, batch)


def bury(db: sqlite3.Connection, batch: Batch, reason: str, now_ms: int) -> None:
    """Copy the events of *batch* to the dead letters; what it was to start cannot be signalled."""
    db.execute(_BURY, (reason, now_ms, batch.lane_id))
    if batch.key is not None and batch.signal is None:
        forget_started(db, batch)


def end_batch(db: sqlite3.Connection, lane_id: int, *, keep_events: bool) -> None:
    """Drop the lane's batch, and its events unless they are to be batched again."""
    if not keep_events:
        db.execute(_DROP_EVENTS, (lane_id,))
    db.execute("DELETE FROM batch WHERE lane_id = ?", (lane_id,))


def find_expired(db: sqlite3.Connection, lane_id: int, oldest_ms: int, limit: int) -> list[int]:
    """Return up to *limit* of the lane's events from before *oldest_ms*, by their places in line."""
    return [seq for (seq,) in db.execute(_EXPIRED, (lane_id, oldest_ms, limit))]


def bury_expired(db: sqlite3.Connection, seqs: Sequence[int], now_ms: int) -> None:
    """Move the events at these places to the dead letters, because they waited for too long."""
    if seqs:
        places = ",".join("?" * len(seqs))
        db.execute(_BURY_EXPIRED.format(places=places), (now_ms, *seqs))
        db.execute(f"DELETE FROM event WHERE seq IN ({places})", seqs)  # noqa: S608
