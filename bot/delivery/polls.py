"""Which execution is asked after next, and when: pure, times are seconds of one monotonic clock.

Asking has a budget, because DescribeExecution is limited for the whole account. Each execution is asked after
at growing intervals. When more are due than the budget allows, those with events waiting behind them go
first, and the quiet ones when there is room: under load, batches get fuller instead of polls being refused.
"""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bot.outbox.batch import Batch

# DescribeExecution refills at 15 a second, and takes up to 300 at once, in the largest regions. Operators and
# other stacks of the account need some of it.
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
POLLS_PER_S: Final = 10.0
AT_ONCE_S: Final = 15.0
AT_ONCE_MAX: Final = 150.0
"""Polls saved up: those of so many seconds, and no more than that."""
POLL_FIRST_S: Final = 0.2
POLL_GROWTH: Final = 1.25
POLL_CAP_S: Final = 30.0

_SORT_AGAIN_S: Final = 1.0
_WAIT_MIN_S: Final = 0.001
"""Sums of floating-point times are not exact; without this, a wait could be too short by next to nothing."""


@dataclass(slots=True, eq=False)
class Followed:
    """A batch whose execution is under way: the time of its next poll, and the interval before that.

    ``since_s`` is since when this process follows it. ``blind_since_s`` is since when each of its polls has
    failed; ``None`` if the last was answered.
    """

    batch: Batch
    due_s: float
    wait_s: float = POLL_FIRST_S
    since_s: float = 0.0
    blind_since_s: float | None = None

    def postpone(self, now_s: float, cap_s: float = POLL_CAP_S) -> None:
        """Poll again later, after a longer interval than before."""
        self.wait_s = min(cap_s, self.wait_s * POLL_GROWTH)
        self.due_s = now_s + self.wait_s


class Polls:
    """Those that are to be polled, *per_s* a second.

    *waits_behind* says whether events wait for a batch to end.
    """

    def __init__(self, waits_behind: Callable[[Batch], bool], per_s: float = POLLS_PER_S) -> None:
        self._waits_behind = waits_behind
        self._numbers = itertools.count()
        self._later: list[tuple[float, int, Followed]] = []
        self._awaited: dict[Followed, None] = {}
        self._quiet: dict[Followed, None] = {}
        self._sorted_s = 0.0
        self._budget = Budget(per_s)

    def __len__(self) -> int:
        return len(self._later) + len(self._awaited) + len(self._quiet)

    def add(self, followed: Followed) -> None:
        heapq.heappush(self._later, (followed.due_s, next(self._numbers), followed))

    def take(self, now_s: float) -> Followed | None:
        """Return the one to poll now; ``None`` if none is due, or the budget is used up."""
        self._sort(now_s)
        due = self._awaited or self._quiet
        if not due or not self._budget.take(now_s):
            return None
        followed = next(iter(due))
        del due[followed]
        return followed

    def wait_s(self, now_s: float) -> float | None:
        """Return how long after *now_s* there will be one to poll; ``None`` if there is none at all."""
        if self._awaited or self._quiet:
            return max(_WAIT_MIN_S, self._budget.wait_s(now_s))
        if not self._later:
            return None
        return max(_WAIT_MIN_S, self._later[0][0] - now_s, self._budget.wait_s(now_s))

    def pause(self, until_s: float) -> None:
        """Poll none before *until_s*."""
        self._budget.pause(until_s)

    def is_paused(self, now_s: float) -> bool:
        return self._budget.is_paused(now_s)

    def hurry(self, now_s: float) -> None:
        """Make all of them due."""
        self._later = [(now_s, number, followed) for _, number, followed in self._later]
        heapq.heapify(self._later)

    def _sort(self, now_s: float) -> None:
        """Move what is due to those that something waits behind, or to the quiet ones."""
        if self._quiet and now_s - self._sorted_s >= _SORT_AGAIN_S:
            self._sorted_s = now_s
            for followed in [one for one in self._quiet if self._waits_behind(one.batch)]:
                del self._quiet[followed]
                self._awaited[followed] = None
        while self._later and self._later[0][0] <= now_s:
            followed = heapq.heappop(self._later)[2]
            due = self._awaited if self._waits_behind(followed.batch) else self._quiet
            due[followed] = None


class Budget:
    """A token bucket that can be paused: *per_s* a second, and *at_once* saved up."""

    def __init__(self, per_s: float, at_once: float | None = None) -> None:
        self._per_s = per_s
        self._full = max(1.0, min(AT_ONCE_MAX, per_s * AT_ONCE_S)) if at_once is None else at_once
        self._polls = self._full
        self._filled_s: float | None = None
        self._paused_until_s = 0.0

    def take(self, now_s: float) -> bool:
        """Take one poll; False if there is none, or none may be made now."""
        if self._filled_s is not None:
            self._polls = min(self._full, self._polls + (now_s - self._filled_s) * self._per_s)
        self._filled_s = now_s
        if self._polls < 1.0 or now_s < self._paused_until_s:
            return False
        self._polls -= 1.0
        return True

    def wait_s(self, now_s: float) -> float:
        """Return how long after *now_s* a poll may be made."""
        filled_s = now_s if self._filled_s is None else self._filled_s
        missing_s = (1.0 - self._polls) / self._per_s - (now_s - filled_s)
        return max(0.0, missing_s, self._paused_until_s - now_s)

    def pause(self, until_s: float) -> None:
        self._paused_until_s = max(self._paused_until_s, until_s)

    def is_paused(self, now_s: float) -> bool:
        return now_s < self._paused_until_s
