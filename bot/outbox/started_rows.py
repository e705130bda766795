"""The table of what was started: the execution that a signal goes to, by its lane and key.

A key's row is replaced by its next start. It goes when the start is refused, when the execution takes no
signals any more, and with age.
"""

import sqlite3
from typing import Final, NamedTuple

from bot.outbox.batch import Batch, Signal
from bot.outbox.stretch import Stretch

_TERMS: Final = "SELECT coalesce(parameters_id, 0), key, signal FROM event WHERE seq = ?"
_PUT: Final = "INSERT OR REPLACE INTO started (lane_id, key, execution, begun_ms) VALUES (?, ?, ?, ?)"
# The lane settles a start before a signal is begun, and its receipt names its only event.
_FIND: Final = """
SELECT started.execution FROM started LEFT JOIN receipt USING (execution)
WHERE started.lane_id = ? AND key = ? AND coalesce(event_ids, '') < ?
"""
_ACCEPTED: Final = "SELECT delivered_ms FROM receipt WHERE execution = ?"
_FORGET: Final = "DELETE FROM started WHERE lane_id = ? AND key = ? AND execution = ?"
_PRUNE: Final = """
DELETE FROM started WHERE (lane_id, key) IN
(SELECT lane_id, key FROM started WHERE begun_ms < ? ORDER BY begun_ms LIMIT ?)
"""


class Terms(NamedTuple):
    """What events of one kind have in common; one with a ``key`` is of its own kind."""

    parameters_id: int
    key: str | None = None
    signal: str | None = None


def read_terms(db: sqlite3.Connection, events: Stretch) -> Terms:
    """Return those of *events*, which are of one kind."""
    kind = int(events.kinds[0])
    return Terms(kind) if kind >= 0 else Terms(*db.execute(_TERMS, (events.seqs[0],)).fetchone())


def find_started(db: sqlite3.Connection, batch: Batch) -> str | None:
    """Return the execution that was last started for the key of *batch*, ``None`` if none is known.

    One of a later event is not meant: a signal that is redriven may find the person back and waiting anew.
    """
    row = db.execute(_FIND, (batch.lane_id, batch.key, batch.event_ids[0])).fetchone()
    return None if row is None else str(row[0])


def read_signal(db: sqlite3.Connection, name: str, execution: str | None) -> Signal:
    """Return the signal *name* to *execution*, and when that was accepted, as far as its receipt says."""
    row = None if execution is None else db.execute(_ACCEPTED, (execution,)).fetchone()
    return Signal(name, execution, 0 if row is None else int(row[0]))


def put_started(db: sqlite3.Connection, batch: Batch) -> None:
    """Note that *batch*, which has a key, starts its execution."""
    db.execute(_PUT, (batch.lane_id, batch.key, batch.execution, batch.created_ms))


def forget_started(db: sqlite3.Connection, batch: Batch) -> None:
    """Forget the execution that *batch* was to start, or to signal."""
    execution = batch.execution if batch.signal is None else batch.signal.execution
    db.execute(_FORGET, (batch.lane_id, batch.key, execution))


def prune_started(db: sqlite3.Connection, before_ms: int, limit: int) -> int:
    """Forget up to *limit* executions that were begun before *before_ms*, and return how many."""
    return db.execute(_PRUNE, (before_ms, limit)).rowcount
