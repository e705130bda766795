"""Which executions ministack keeps: the newest ended ones, up to a number and a size.

ministack keeps every execution forever, where AWS drops closed ones after 90 days.
"""

from collections import deque
from typing import Any

# Names that stay taken after their executions were dropped.
_NAMES_KEPT = 100_000


class RetainedExecutions:
    """Drops the oldest ended executions from *stored*, by ARN, beyond *number* or *input_bytes* of input.

    The history of an execution repeats its input, so that it takes about four times as much memory.
    """

    def __init__(self, stored: Any, number: int, input_bytes: int) -> None:
        self._stored = stored
        self._number = number
        self._input_bytes = input_bytes
        self._kept_bytes = 0
        # Each ARN with the size of its input.
        self._by_age: deque[tuple[str, int]] = deque()
        self._forgotten: dict[str, None] = {}

    def knows(self, arn: str) -> bool:
        return arn in self._stored or arn in self._forgotten

    def add(self, arn: str) -> None:
        size = len(self._stored[arn]["input"].encode())
        self._by_age.append((arn, size))
        self._kept_bytes += size
        for _ in range(len(self._by_age) - 1):
            if len(self._by_age) <= self._number and self._kept_bytes <= self._input_bytes:
                return
            self._pass_over_oldest()

    def _pass_over_oldest(self) -> None:
        """Drop the oldest execution, or make it the newest if it is still running."""
        arn, size = self._by_age.popleft()
        execution = self._stored.get(arn)
        if execution is not None and execution["status"] == "RUNNING":
            self._by_age.append((arn, size))
            return
        self._kept_bytes -= size
        if execution is None:
            return
        del self._stored[arn]
        self._forgotten[arn] = None
        if len(self._forgotten) > _NAMES_KEPT:
            del self._forgotten[next(iter(self._forgotten))]
