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
from bot.outbox.stretch import Stretch, read_stretch
from bot.routing.lane import Lane

_BEGIN: Final = (
    "INSERT INTO batch (lane_id, execution, first_seq, last_seq, created_ms, has_parameters) "
    "VALUES (?, ?, ?, ?, ?, 1)"
)
_OPEN: Final = """
SELECT lane_id, execution, first_seq, last_seq, created_ms, attempts, arn, accepted_ms, has_parameters
FROM batch WHERE lane_id = coalesce(?, lane_id) ORDER BY first_seq
"""
_ACCEPT: Final = "UPDATE batch SET arn = ?, accepted_ms = ?, attempts = ? WHERE lane_id = ?"
_DROP_EVENTS: Final = """
DELETE FROM event WHERE lane_id = ?1 AND seq BETWEEN (SELECT first_seq FROM batch WHERE lane_id = ?1)
                                                 AND (SELECT last_seq FROM batch WHERE lane_id = ?1)
"""
_BURY: Final = """
INSERT INTO dead_letter (lane_id, event_id, destination, body, parameters_id, execution, reason, died_ms)
SELECT lane_id, event_id, destination, body, parameters_id, execution, ?, ?
FROM event JOIN batch USING (lane_id)
WHERE lane_id = ? AND seq BETWEEN first_seq AND last_seq
"""
_EXPIRED: Final = "SELECT seq FROM event WHERE lane_id = ? AND entered_ms < ? ORDER BY seq LIMIT ?"
_BURY_EXPIRED: Final = """
INSERT INTO dead_letter (lane_id, event_id, destination, body, parameters_id, reason, died_ms)
SELECT lane_id, event_id, destination, body, parameters_id,
       'expired: it waited for longer than MAX_EVENT_AGE_S', ?
FROM event WHERE seq IN ({places}) ORDER BY seq
"""
PUT_EVENT: Final = (
    "INSERT INTO event (lane_id, event_id, destination, body, parameters_id, entered_ms) VALUES "
)
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
    for lane_id, execution, first_seq, last_seq, created_ms, attempts, arn, accepted_ms, has in db.execute(
        _OPEN, (only,)
    ).fetchall():
        events = read_stretch(db, lane_id, first_seq=first_seq, last_seq=last_seq)
        handed = parameters.body(int(events.parameters[0])) if has else None
        batch = build_batch(
            lane_id, lanes[lane_id], execution, created_ms, events, handed, event_age_ms, sent_before=True
        )
        if arn is not None:
            accepted = Acceptance(arn, attempts + 1, accepted_ms)
            batch = dataclasses.replace(batch, body=b"", accepted=accepted)
        batches.append(batch)
    return batches


def put_batch(db: sqlite3.Connection, batch: Batch, stretch: Stretch) -> None:
    """Write down that *batch* is begun, with the events of *stretch*."""
    columns = (batch.lane_id, batch.execution, stretch.seqs[0], stretch.seqs[-1], batch.created_ms)
    db.execute(_BEGIN, columns)


def build_batch(
    lane_id: int,
    lane: Lane,
    execution: str,
    created_ms: int,
    events: Stretch,
    parameters: str | None,
    event_age_ms: int,
    *,
    sent_before: bool = False,
) -> Batch:
    """Return a batch of *events*; the same arguments give the same bytes.

    *parameters* are ``None`` for a batch that was begun before inputs had any.
    """
    head = orjson.dumps({"id": execution, "destination": events.destinations[0]})[:-1]
    if parameters is not None:
        head = b'%b,"parameters":%b' % (head, parameters.encode())
    return Batch(
        lane_id=lane_id,
        lane=lane,
        execution=execution,
        body=b'%b,"events":[%b]}' % (head, b",".join(events.bodies)),
        event_ids=events.event_ids,
        created_ms=created_ms,
        destination=events.destinations[0],
        sent_before=sent_before,
        expires_ms=max(events.entered_ms) + event_age_ms,
    )


def note_failure(db: sqlite3.Connection, failed: Failed, now_ms: int) -> None:
    db.execute(_NOTE_FAILURE, (failed.attempts, now_ms, failed.reason, failed.batch.lane_id))


def note_acceptance(db: sqlite3.Connection, lane_id: int, accepted: Acceptance | None) -> None:
    """Note that the lane's batch was accepted, or with ``None`` that the API knows nothing of it."""
    arn, attempts, accepted_ms = accepted or (None, 1, None)
    db.execute(_ACCEPT, (arn, accepted_ms, attempts - 1, lane_id))


def put_receipt(db: sqlite3.Connection, delivered: Delivered, now_ms: int) -> None:
    batch = delivered.batch
    db.execute(
        "INSERT OR REPLACE INTO receipt VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            batch.execution,
            delivered.arn,
            batch.lane_id,
            ",".join(batch.event_ids),
            delivered.attempts,
            batch.created_ms,
            now_ms,
        ),
    )


def bury(db: sqlite3.Connection, lane_id: int, reason: str, now_ms: int) -> None:
    """Copy the events of the lane's batch to the dead letters."""
    db.execute(_BURY, (reason, now_ms, lane_id))


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
