"""An event loop whose clock jumps: hours pass at once, and nothing depends on the machine's speed."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for a time to come, moves it on."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is not None:
            self.now_s += max(timeout, 0.0)
        elif not ready:
            raise AssertionError("nothing will ever happen: every task waits for another")
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """For tasks that wait for times and for each other, and for nothing outside the process."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s


def run_virtually(main: Coroutine[Any, Any, _T]) -> _T:
    """Run *main* to its end on a loop of its own, in no time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
