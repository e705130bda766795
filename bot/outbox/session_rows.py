"""The table of the gateway's sessions."""

import sqlite3
from collections.abc import Mapping
from typing import Final

from bot.outbox import statements
from bot.outbox.session import Position, Session

_READ: Final = "SELECT shard_id, shard_count, bot_id, session_id, resume_url, seq FROM session"
_PUT: Final = (
    "INSERT OR REPLACE INTO session (shard_id, shard_count, bot_id, session_id, resume_url, seq) VALUES "
)


def read_positions(db: sqlite3.Connection) -> dict[int, Position]:
    """Return how far each session was taken in, by shard."""
    return {row[0]: Position(Session(*row[:-1]), row[-1]) for row in db.execute(_READ)}


def write_positions(db: sqlite3.Connection, positions: Mapping[int, Position | None]) -> None:
    """Write how far the sessions have been taken in; those with ``None`` are forgotten."""
    rows = [(*position.session, position.seq) for position in positions.values() if position is not None]
    statements.insert(db, _PUT, rows)
    gone = [(shard_id,) for shard_id, position in positions.items() if position is None]
    statements.delete(db, "session", ("shard_id",), gone)


def forget_positions(db: sqlite3.Connection) -> None:
    """Forget every session: a RESUME would bring no snapshot, which is what ends a gap."""
    db.execute("DELETE FROM session")
