"""Which lanes may begin a batch next: one in flight per lane, lanes in the order in which they fell due.

Kept in memory beside the file. A change is computed first, committed with its transaction, and applied here
only after that, so that a failed transaction leaves this as it was.
"""

import itertools
from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Change:
    """What a transaction does to the lanes, by lane id.

    ``delta`` is by how many events a lane grows or shrinks. ``settled`` are the lanes whose batch has ended.
    ``limits`` is how many events a lane's next batch may have, ``None`` for the usual.
    """

    delta: Counter[int] = field(default_factory=Counter)
    settled: set[int] = field(default_factory=set)
    limits: dict[int, int | None] = field(default_factory=dict)


class LaneSchedule:
    """*waiting* counts each lane's events on disk, those of batches in flight included."""

    def __init__(self, waiting: dict[int, int], in_flight: set[int]) -> None:
        self._waiting = waiting
        self._in_flight = in_flight
        self._limits: dict[int, int] = {}
        self._due = dict.fromkeys(lane_id for lane_id in waiting if lane_id not in in_flight)
        self.total = sum(waiting.values())

    def choose(self, change: Change, slots: int) -> list[int]:
        """Return up to *slots* lanes that may begin a batch once *change* is committed."""
        touched = itertools.chain(change.delta, change.settled)
        fresh = dict.fromkeys(
            lane_id for lane_id in touched if lane_id not in self._due and self._is_due(lane_id, change)
        )
        return list(itertools.islice(itertools.chain(self._due, fresh), slots))

    def limit(self, lane_id: int, change: Change, usual: int) -> int:
        """Return how many events the lane's next batch may have: *usual*, or fewer after a refusal."""
        limit = change.limits[lane_id] if lane_id in change.limits else self._limits.get(lane_id)
        return limit or usual

    def commit(self, change: Change, begun: list[int]) -> None:
        """Apply *change*, which is now on disk together with the batches *begun*."""
        self._in_flight -= change.settled
        for lane_id, count in change.delta.items():
            self.total += count
            waiting = self._waiting.get(lane_id, 0) + count
            if waiting:
                self._waiting[lane_id] = waiting
            else:
                self._waiting.pop(lane_id, None)
                self._due.pop(lane_id, None)
        for lane_id, limit in change.limits.items():
            if limit is None:
                self._limits.pop(lane_id, None)
            else:
                self._limits[lane_id] = limit
        for lane_id in itertools.chain(change.delta, change.settled):
            if lane_id in self._waiting and lane_id not in self._in_flight:
                self._due[lane_id] = None
        for lane_id in begun:
            self._due.pop(lane_id, None)
            self._in_flight.add(lane_id)

    def _is_due(self, lane_id: int, change: Change) -> bool:
        if lane_id in self._in_flight and lane_id not in change.settled:
            return False
        return self._waiting.get(lane_id, 0) + change.delta[lane_id] > 0
