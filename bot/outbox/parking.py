"""What operators want of lanes, as the relay carries it out: park, release, drop what waits.

The marks are columns of the table ``lane``, set by other processes (``lane_marks``) and read at each
housekeeping.

    parked     the lane begins no batch; one in flight goes on to its end
    drop       what waited when the operator asked is deleted, a chunk in each transaction. The lane begins no
               batch until that is done; what its batch in flight gives back before then is deleted too
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import structlog

from bot.outbox import statements
from bot.outbox.lanes import Change, LaneSchedule
from bot.routing.lane import Lane

_NAMED_MAX: Final = 10
"""How many guilds a line of the log names."""

_MARKED: Final = "SELECT lane_id, parked FROM lane WHERE parked = 1 OR drop_to_seq IS NOT NULL"
# CROSS JOIN keeps SQLite from beginning with the events, of which there may be a million.
_TO_DROP: Final = """
SELECT seq, lane_id FROM lane CROSS JOIN event USING (lane_id)
WHERE (parked = 1 OR drop_to_seq IS NOT NULL) AND seq <= drop_to_seq
AND EXISTS (SELECT 1 FROM event AS last
            WHERE last.seq = drop_to_seq AND last.lane_id = lane.lane_id AND last.event_id = drop_to_event)
AND NOT EXISTS (SELECT 1 FROM batch
                WHERE batch.lane_id = lane.lane_id AND event.seq BETWEEN first_seq AND last_seq)
ORDER BY lane_id, seq LIMIT ?
"""
_DROP_DONE: Final = (
    "UPDATE lane SET drop_to_seq = NULL, drop_to_event = NULL "
    "WHERE (parked = 1 OR drop_to_seq IS NOT NULL) AND drop_to_seq IS NOT NULL"
)

log = structlog.get_logger(__name__)


class Parking:
    """Keeps *schedule* in step with the marks; *lanes* has every lane by its id."""

    def __init__(self, lanes: Mapping[int, Lane], schedule: LaneSchedule) -> None:
        self._lanes = lanes
        self._schedule = schedule
        self._parked: frozenset[int] = frozenset()
        self._dropped: Counter[int] = Counter()

    def take_up(self, db: sqlite3.Connection) -> None:
        """Let the schedule know which lanes are to begin no batch, and log which are parked or released."""
        marked = dict(db.execute(_MARKED).fetchall())
        parked = frozenset(lane_id for lane_id, is_parked in marked.items() if is_parked)
        self._log("lane_parked", parked - self._parked, self._schedule.waiting)
        self._log("lane_released", self._parked - parked, self._schedule.waiting)
        self._parked = parked
        self._schedule.park(frozenset(marked))

    def drop(self, db: sqlite3.Connection, change: Change, limit: int) -> bool:
        """Delete up to *limit* events that are to be dropped; say whether to call again.

        Marks are cleared by the call that finds nothing more to delete, once what was deleted is committed.
        """
        rows = db.execute(_TO_DROP, (limit,)).fetchall()
        if not rows:
            db.execute(_DROP_DONE)
            self._log("lane_dropped", self._dropped, self._dropped.__getitem__)
            self._dropped.clear()
            return False
        statements.delete(db, "event", ("seq",), [row[:1] for row in rows])
        change.dropped.update(lane_id for _, lane_id in rows)
        change.delta.subtract(lane_id for _, lane_id in rows)
        return True

    def commit(self, change: Change) -> None:
        """Count what *change*, which is now on disk, has dropped."""
        self._dropped.update(change.dropped)

    def _log(self, event: str, lane_ids: Iterable[int], count: Callable[[int], int]) -> None:
        """Log *event* once for each workflow, with the number of events in these lanes."""
        by_workflow: defaultdict[str, list[int]] = defaultdict(list)
        for lane_id in sorted(lane_ids):
            by_workflow[self._lanes[lane_id].workflow].append(lane_id)
        for workflow, ids in by_workflow.items():
            log.warning(
                event,
                workflow=workflow,
                lanes=len(ids),
                guild_ids=[self._lanes[lane_id].guild_id for lane_id in ids[:_NAMED_MAX]],
                events=sum(map(count, ids)),
            )
