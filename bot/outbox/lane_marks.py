"""Marks on lanes, set by another process: parked, or to be dropped. ``parking`` carries them out.

A few hundred lanes are marked in each transaction, so that the relay soon has its turn.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from bot.routing.lane import Lane

_CHUNK: Final = 500
_PAUSE_S: Final = 0.02

_FIND: Final = """
SELECT lane_id, workflow, guild_id, parked, events, coalesce(last_seq, 0),
       coalesce((SELECT event_id FROM event WHERE seq = last_seq), '')
FROM (SELECT lane.lane_id AS lane_id, workflow, guild_id, parked, count(seq) AS events, max(seq) AS last_seq
      FROM lane LEFT JOIN event ON event.lane_id = lane.lane_id AND NOT EXISTS (
          SELECT 1 FROM batch WHERE batch.lane_id = event.lane_id AND seq BETWEEN first_seq AND last_seq)
      WHERE workflow = ?1 AND guild_id = coalesce(?2, guild_id)
      GROUP BY lane.lane_id)
ORDER BY lane_id
"""
_SET_PARKED: Final = "UPDATE lane SET parked = ?1 WHERE lane_id = ?2 AND parked <> ?1"
_SET_DROP: Final = """
UPDATE lane SET drop_to_seq = ?2, drop_to_event = ?3 WHERE lane_id = ?1
AND EXISTS (SELECT 1 FROM event WHERE seq = ?2 AND lane_id = ?1 AND event_id = ?3)
"""


class LaneState(NamedTuple):
    """A lane with the ``events`` that wait in it and are not in flight, up to the last one."""

    lane_id: int
    lane: Lane
    parked: bool
    events: int
    last_seq: int
    last_event: str


class LaneMarks:
    """The lanes of the outbox behind *connection*, which may write."""

    def __init__(self, connection: sqlite3.Connection, sleep: Callable[[float], None] = time.sleep) -> None:
        self._db = connection
        self._sleep = sleep

    def find(self, workflow: str, guild_id: str | None) -> list[LaneState]:
        """Return the lanes of the workflow, or the one of this guild."""
        rows = self._db.execute(_FIND, (workflow, guild_id)).fetchall()
        return [LaneState(row[0], Lane(*row[1:3]), bool(row[3]), *row[4:]) for row in rows]

    def workflows(self) -> list[str]:
        """Return the workflows that have lanes."""
        return [name for (name,) in self._db.execute("SELECT DISTINCT workflow FROM lane ORDER BY 1")]

    def park(self, lanes: Sequence[LaneState]) -> int:
        """Mark the lanes as parked; return how many were not."""
        return self._change(_SET_PARKED, [(1, lane.lane_id) for lane in lanes])

    def release(self, lanes: Sequence[LaneState]) -> int:
        """Take the mark away; return how many lanes had it."""
        return self._change(_SET_PARKED, [(0, lane.lane_id) for lane in lanes])

    def drop(self, lanes: Sequence[LaneState]) -> int:
        """Mark what waits in the lanes to be dropped; return in how many lanes something still waited."""
        wanted = [(lane.lane_id, lane.last_seq, lane.last_event) for lane in lanes if lane.events]
        return self._change(_SET_DROP, wanted)

    def _change(self, statement: str, rows: Sequence[tuple[object, ...]]) -> int:
        changed = 0
        for number, chunk in enumerate(_cut(rows)):
            if number:
                self._sleep(_PAUSE_S)
            self._db.execute("BEGIN IMMEDIATE")
            # A connection that fails is closed, which rolls its transaction back.
            changed += self._db.executemany(statement, chunk).rowcount
            self._db.execute("COMMIT")
        return changed


def _cut(rows: Sequence[tuple[object, ...]]) -> Iterator[Sequence[tuple[object, ...]]]:
    return (rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK))
