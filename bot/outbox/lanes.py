"""Which lanes may begin a batch next: one in flight per lane, lanes in the order in which they fell due.

Places are counted for each workflow by itself, so that one whose batches all wait for its endpoint leaves the
others theirs. A lane that an operator has parked gathers events and begins no batch.

Kept in memory beside the file. A change is computed first, committed with its transaction, and applied here
only after that, so that a failed transaction leaves this as it was.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Change:
    """What a transaction does to the lanes, by lane id.

    ``delta`` is by how many events a lane grows or shrinks. ``settled`` are the lanes whose batch has ended.
    ``limits`` is how many events a lane's next batch may have, ``None`` for the usual. ``rests`` are settled
    lanes that begin no batch before a time, in milliseconds since 1970. ``dropped`` is how many events of a
    lane are deleted because an operator wants it; ``delta`` has them too.
    """

    delta: Counter[int] = field(default_factory=Counter)
    settled: set[int] = field(default_factory=set)
    limits: dict[int, int | None] = field(default_factory=dict)
    rests: dict[int, int] = field(default_factory=dict)
    dropped: Counter[int] = field(default_factory=Counter)


class LaneSchedule:
    """*waiting* counts each lane's events on disk, those of batches in flight included.

    *workflow_of* names a lane's workflow.
    """

    def __init__(
        self, waiting: dict[int, int], in_flight: set[int], workflow_of: Callable[[int], str]
    ) -> None:
        self._waiting = waiting
        self._in_flight = in_flight
        self._limits: dict[int, int] = {}
        self._rests: dict[int, int] = {}
        self._parked: frozenset[int] = frozenset()
        self._woken_ms = 0
        self._workflow_of = workflow_of
        self._due: defaultdict[str, dict[int, None]] = defaultdict(dict)
        for lane_id in waiting:
            if lane_id not in in_flight:
                self._due[workflow_of(lane_id)][lane_id] = None
        self.total = sum(waiting.values())

    def waiting(self, lane_id: int) -> int:
        """Return how many events of the lane are on disk; may be asked from another thread."""
        return self._waiting.get(lane_id, 0)

    @property
    def any_due(self) -> bool:
        """Whether any lane may begin a batch."""
        return any(self._due.values())

    def wake(self, now_ms: int) -> None:
        """Let the lanes go on that have rested until now; a clock that was set back makes no rest longer."""
        back_ms = max(0, self._woken_ms - now_ms)
        self._woken_ms = now_ms
        if back_ms:
            self._rests = {lane_id: until_ms - back_ms for lane_id, until_ms in self._rests.items()}
        for lane_id in [lane_id for lane_id, until_ms in self._rests.items() if until_ms <= now_ms]:
            del self._rests[lane_id]
            self._line_up(lane_id)

    def park(self, lane_ids: frozenset[int]) -> None:
        """Let these lanes, and no others, begin no batch."""
        freed, self._parked = self._parked - lane_ids, lane_ids
        for lane_id in lane_ids:
            self._due[self._workflow_of(lane_id)].pop(lane_id, None)
        for lane_id in sorted(freed):
            self._line_up(lane_id)

    def choose(self, change: Change, slots: int, taken: Mapping[str, int]) -> list[int]:
        """Return the lanes that may begin a batch once *change* is committed.

        Up to *slots* of each workflow, less those that are *taken*.
        """
        due: dict[str, list[Iterable[int]]] = {workflow: [lanes] for workflow, lanes in self._due.items()}
        for workflow, lane_ids in self._freshly_due(change).items():
            due.setdefault(workflow, []).append(lane_ids)
        return [
            lane_id
            for workflow, lanes in due.items()
            for lane_id in itertools.islice(
                itertools.chain.from_iterable(lanes), max(0, slots - taken.get(workflow, 0))
            )
        ]

    def _freshly_due(self, change: Change) -> Mapping[str, dict[int, None]]:
        """Return the lanes that *change* makes due, by workflow."""
        fresh: defaultdict[str, dict[int, None]] = defaultdict(dict)
        for lane_id in itertools.chain(change.delta, change.settled):
            workflow = self._workflow_of(lane_id)
            if lane_id not in self._due[workflow] and self._is_due(lane_id, change):
                fresh[workflow][lane_id] = None
        return fresh

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
                self._due[self._workflow_of(lane_id)].pop(lane_id, None)
        for lane_id, limit in change.limits.items():
            if limit is None:
                self._limits.pop(lane_id, None)
            else:
                self._limits[lane_id] = limit
        self._rests.update(change.rests)
        for lane_id in itertools.chain(change.delta, change.settled):
            self._line_up(lane_id)
        for lane_id in begun:
            self._due[self._workflow_of(lane_id)].pop(lane_id, None)
            self._in_flight.add(lane_id)

    def _line_up(self, lane_id: int) -> None:
        """Make the lane due if it may begin a batch."""
        stopped = lane_id in self._in_flight or lane_id in self._rests or lane_id in self._parked
        if lane_id in self._waiting and not stopped:
            self._due[self._workflow_of(lane_id)][lane_id] = None

    def _is_due(self, lane_id: int, change: Change) -> bool:
        if lane_id in self._in_flight and lane_id not in change.settled:
            return False
        if lane_id in self._rests or lane_id in change.rests or lane_id in self._parked:
            return False
        return self._waiting.get(lane_id, 0) + change.delta[lane_id] > 0
