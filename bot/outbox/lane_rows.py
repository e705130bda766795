"""The table of lanes, without the marks of operators, which ``parking`` reads."""

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from bot.routing.lane import Lane


class LaneRow(NamedTuple):
    lane_id: int
    lane: Lane
    batch_max_events: int | None


def read_lanes(db: sqlite3.Connection) -> list[LaneRow]:
    rows = db.execute("SELECT lane_id, workflow, guild_id, batch_max_events FROM lane").fetchall()
    return [LaneRow(row[0], Lane(*row[1:3]), row[3]) for row in rows]


def count_waiting(db: sqlite3.Connection) -> dict[int, int]:
    """Return how many events are in each lane that has any, by its first event's place."""
    return dict(db.execute("SELECT lane_id, count(*) FROM event GROUP BY lane_id ORDER BY min(seq)"))


def add_lanes(db: sqlite3.Connection, lanes: Iterable[Lane]) -> list[tuple[int, Lane]]:
    """Number *lanes* and return them with their ids."""
    added = []
    for lane in lanes:
        db.execute("INSERT OR IGNORE INTO lane (workflow, guild_id) VALUES (?, ?)", lane)
        query = "SELECT lane_id FROM lane WHERE workflow = ? AND guild_id = ?"
        added.append((int(db.execute(query, lane).fetchone()[0]), lane))
    return added


def write_batch_max(db: sqlite3.Connection, lane_id: int, batch_max_events: int | None) -> None:
    db.execute("UPDATE lane SET batch_max_events = ? WHERE lane_id = ?", (batch_max_events, lane_id))
