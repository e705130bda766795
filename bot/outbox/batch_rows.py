"""The tables of events and batches: cuts a lane's next batch, and settles one.

A lane's batch is a range of its events, written down before it is first sent, so that every attempt has the
same bytes under the same execution name.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

import orjson

from bot.outbox.batch import Batch, Delivered, Failed
from bot.routing.lane import Lane

BATCH_MAX_BYTES: Final = 200 * 1024
"""Room for the events of one batch; Step Functions takes an input of 262,144 bytes."""

_LAST_SEQ: Final = 2**63 - 1

# group_concat takes the rows in the order in which the ordered subquery hands them over.
_READ: Final = """
SELECT min(seq), max(seq), coalesce(min(entered_ms), 0), coalesce(max(entered_ms), 0),
       min(destination), max(destination),
       sum(length(CAST(body AS BLOB)) + 1), group_concat(body, ','), group_concat(event_id, ',')
FROM (SELECT seq, entered_ms, destination, body, event_id
      FROM event WHERE lane_id = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?)
"""
_SIZES: Final = """
SELECT seq, destination, length(CAST(body AS BLOB)) + 1
FROM event WHERE lane_id = ? ORDER BY seq LIMIT ?
"""
_BEGIN: Final = (
    "INSERT INTO batch (lane_id, execution, first_seq, last_seq, created_ms) VALUES (?, ?, ?, ?, ?)"
)
_OPEN: Final = "SELECT lane_id, execution, first_seq, last_seq, created_ms FROM batch ORDER BY first_seq"
_DROP_EVENTS: Final = """
DELETE FROM event WHERE lane_id = ?1 AND seq BETWEEN (SELECT first_seq FROM batch WHERE lane_id = ?1)
                                                 AND (SELECT last_seq FROM batch WHERE lane_id = ?1)
"""
_BURY: Final = """
INSERT INTO dead_letter (lane_id, event_id, destination, body, execution, reason, died_ms)
SELECT lane_id, event_id, destination, body, execution, ?, ? FROM event JOIN batch USING (lane_id)
WHERE lane_id = ? AND seq BETWEEN first_seq AND last_seq
"""
_EXPIRED: Final = "SELECT seq FROM event WHERE lane_id = ? AND entered_ms < ? ORDER BY seq LIMIT ?"
_BURY_EXPIRED: Final = """
INSERT INTO dead_letter (lane_id, event_id, destination, body, reason, died_ms)
SELECT lane_id, event_id, destination, body, 'expired: it waited for longer than MAX_EVENT_AGE_S', ?
FROM event WHERE seq IN ({places}) ORDER BY seq
"""
PUT_EVENT: Final = "INSERT INTO event (lane_id, event_id, destination, body, entered_ms) VALUES "
_NOTE_FAILURE: Final = "UPDATE batch SET attempts = ?, last_attempt_ms = ?, last_error = ? WHERE lane_id = ?"


class Stretch(NamedTuple):
    """A stretch of a lane, joined up; ``first_seq`` is ``None`` where it is empty.

    ``entered_ms`` and ``last_entered_ms`` are when the first and the last event came into the lane.
    In a batch, ``destination`` and ``last_destination`` are the same.
    """

    first_seq: int | None
    last_seq: int
    entered_ms: int
    last_entered_ms: int
    destination: str
    last_destination: str
    bytes: int
    bodies: str
    event_ids: str


def read_stretch(
    db: sqlite3.Connection, lane_id: int, *, first_seq: int = 0, last_seq: int = _LAST_SEQ, limit: int = -1
) -> Stretch:
    return Stretch(*db.execute(_READ, (lane_id, first_seq, last_seq, limit)).fetchone())


def fit(db: sqlite3.Connection, lane_id: int, stretch: Stretch, limit: int) -> Stretch:
    """Return *stretch*, of up to *limit* events, cut to one destination and to BATCH_MAX_BYTES.

    A single event always fits.
    """
    if stretch.bytes <= BATCH_MAX_BYTES and stretch.destination == stretch.last_destination:
        return stretch
    total = cut = 0
    first = None
    for seq, destination, size in db.execute(_SIZES, (lane_id, limit)):
        first = destination if first is None else first
        total += size
        if cut and (destination != first or total > BATCH_MAX_BYTES):
            break
        cut = seq
    return read_stretch(db, lane_id, last_seq=cut, limit=limit)


def open_batches(db: sqlite3.Connection, lanes: dict[int, Lane], event_age_ms: int) -> list[Batch]:
    """Return the batches that were begun and not settled, as they were first sent."""
    return [
        build_batch(
            lane_id,
            lanes[lane_id],
            execution,
            created_ms,
            read_stretch(db, lane_id, first_seq=first_seq, last_seq=last_seq),
            event_age_ms,
            sent_before=True,
        )
        for lane_id, execution, first_seq, last_seq, created_ms in db.execute(_OPEN).fetchall()
    ]


def put_batch(db: sqlite3.Connection, batch: Batch, stretch: Stretch) -> None:
    """Write down that *batch* is begun, with the events of *stretch*."""
    columns = (batch.lane_id, batch.execution, stretch.first_seq, stretch.last_seq, batch.created_ms)
    db.execute(_BEGIN, columns)


def build_batch(
    lane_id: int,
    lane: Lane,
    execution: str,
    created_ms: int,
    events: Stretch,
    event_age_ms: int,
    *,
    sent_before: bool = False,
) -> Batch:
    """Return a batch of *events*; the same arguments give the same bytes."""
    name, to = orjson.dumps(execution).decode(), orjson.dumps(events.destination).decode()
    return Batch(
        lane_id=lane_id,
        lane=lane,
        execution=execution,
        body=f'{{"id":{name},"destination":{to},"events":[{events.bodies}]}}'.encode(),
        event_ids=tuple(events.event_ids.split(",")),
        created_ms=created_ms,
        sent_before=sent_before,
        expires_ms=events.last_entered_ms + event_age_ms,
    )


def note_failure(db: sqlite3.Connection, failed: Failed, now_ms: int) -> None:
    db.execute(_NOTE_FAILURE, (failed.attempts, now_ms, failed.reason, failed.batch.lane_id))


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
