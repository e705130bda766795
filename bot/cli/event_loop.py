"""The event loop that commands run on, and what signals do to it until a relay installs its own handlers."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from bot.cli.interruption import exit_at_once

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

_T = TypeVar("_T")


def run_async(body: Coroutine[Any, Any, _T]) -> _T:
    """Run *body* on uvloop where it is installed.

    SIGTERM and SIGINT cancel it, which ends in a KeyboardInterrupt; a second signal exits at once.
    """
    interruption = _Interruption()

    async def interruptible() -> _T:
        interruption.cancel_this_task()
        return await body

    try:
        with asyncio.Runner(loop_factory=_find_loop_factory()) as runner:
            return runner.run(interruptible())
    except asyncio.CancelledError:
        if interruption.happened:
            raise KeyboardInterrupt from None
        raise
    finally:
        # Without effect, unless a signal came before the first step.
        body.close()


class _Interruption:
    """Cancels a task at the first signal."""

    def __init__(self) -> None:
        self.happened = False

    def cancel_this_task(self) -> None:
        """From now on, let signals cancel the task that calls this."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        for number in _SIGNALS:
            # A shell without job control ignores SIGINT for its background commands.
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._on_signal, number, task)

    def _on_signal(self, number: int, task: asyncio.Task[object] | None) -> None:
        if self.happened:
            exit_at_once(number)
        self.happened = True
        if task is not None:
            task.cancel()


def _find_loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop
