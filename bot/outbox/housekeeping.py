"""What keeps the outbox within its bounds: expiry, redrive, and the pruning of receipts.

Each function does at most ``CHUNK`` rows, so that no transaction grows with the backlog; the store calls them
again, a transaction each, until there is nothing left to do.

    what waits      bounds the file: when it is full of that, what happens now is let go
    receipts        pruned by age; and, once the file nears its bound, the oldest first, however young
    dead letters    a share of the file. At their bound nothing more is buried: what is too old is sent late,
                    and what the API rejects is kept with its lane
"""

import sqlite3
from typing import Final

import structlog

from bot.errors import StoreFullError
from bot.outbox import batch_rows, statements
from bot.outbox.database import Database
from bot.outbox.lanes import Change

CHUNK: Final = 1000

NEAR: Final = 0.8
"""From this share of a bound on, it counts as near."""
DEAD_LETTERS_SHARE: Final = 0.25
"""How much of the file dead letters may take."""

log = structlog.get_logger(__name__)

_HEAD: Final = 5 * CHUNK
"""How many of the oldest events are looked at for those that are too old and in no batch."""

_TO_REDRIVE: Final = (
    "SELECT letter_id, lane_id, event_id, destination, body, parameters_id, key, signal FROM dead_letter "
    "WHERE redrive = 1 ORDER BY letter_id LIMIT ?"
)
_OLDEST: Final = "SELECT entered_ms FROM event ORDER BY seq LIMIT 1"
_EXPIRED: Final = """
SELECT seq, lane_id FROM (SELECT seq, lane_id, entered_ms FROM event ORDER BY seq LIMIT ?) AS head
WHERE entered_ms < ?
AND NOT EXISTS (SELECT 1 FROM batch WHERE lane_id = head.lane_id AND head.seq BETWEEN first_seq AND last_seq)
ORDER BY seq LIMIT ?
"""
_PRUNE: Final = (
    "DELETE FROM receipt WHERE execution IN "
    "(SELECT execution FROM receipt WHERE delivered_ms < ? ORDER BY delivered_ms LIMIT ?)"
)


def check_room(database: Database, file_bytes: int, waiting: int) -> None:
    """Raise StoreFullError if the file has reached *file_bytes*; in a transaction.

    Outside of one, SQLite would lock the file for each of the questions.
    """
    if database.used_bytes() >= file_bytes:
        raise StoreFullError(
            f"the outbox has reached VOICE_RELAY_OUTBOX_MAX_BYTES ({file_bytes}) with {waiting} events "
            "waiting: what happens now will be declared as a gap"
        )


class DeadLetterBound:
    """Dead letters may take *max_bytes*; ``full`` says whether they do."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._warned = 0.0
        self.full = False

    def watch(self, db: sqlite3.Connection) -> None:
        """Log it when they near their bound, and when they reach it."""
        letters, used_bytes = db.execute("SELECT letters, bytes FROM dead_letter_usage").fetchone()
        share = used_bytes / self._max_bytes
        self.full = share >= 1
        level = next((level for level in (1.0, NEAR) if share >= level), 0.0)
        if level > self._warned:
            log.error(
                "dead_letters_full" if self.full else "dead_letters_nearly_full",
                letters=letters,
                bytes=used_bytes,
                max_bytes=self._max_bytes,
            )
        self._warned = level


def redrive(db: sqlite3.Connection, change: Change, now_ms: int) -> bool:
    """Put dead letters that are marked at the ends of their lanes; say whether there may be more."""
    rows = db.execute(_TO_REDRIVE, (CHUNK,)).fetchall()
    statements.delete(db, "dead_letter", ("letter_id",), [row[:1] for row in rows])
    statements.insert(db, batch_rows.PUT_EVENT, [(*row, now_ms) for _, *row in rows])
    change.delta.update(lane_id for _, lane_id, *_ in rows)
    return len(rows) == CHUNK


def expire(db: sqlite3.Connection, change: Change, oldest_ms: int, now_ms: int) -> int:
    """Bury events from before *oldest_ms* that are in no batch, and return how many."""
    head = db.execute(_OLDEST).fetchone()
    if head is None or head[0] >= oldest_ms:
        return 0
    rows = db.execute(_EXPIRED, (_HEAD, oldest_ms, CHUNK)).fetchall()
    batch_rows.bury_expired(db, [seq for seq, _ in rows], now_ms)
    change.delta.subtract(lane_id for _, lane_id in rows)
    return len(rows)


def prune_receipts(db: sqlite3.Connection, before_ms: int) -> int:
    """Drop the oldest receipts from before *before_ms*, and return how many."""
    return db.execute(_PRUNE, (before_ms, CHUNK)).rowcount
