"""SIGTERM where no relay runs that stops in an orderly way: before it starts, and in every other command.

The first signal interrupts the command as Ctrl-C does. A second exits at once.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM into a KeyboardInterrupt, also in a container, where process 1 has no default handlers.

    Outside the main thread, and where another handler is installed or SIGTERM is ignored, do nothing.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def exit_at_once(number: int, _: FrameType | None = None) -> None:
    os._exit(128 + number)


def _interrupt(number: int, _: FrameType | None) -> None:
    signal.signal(number, exit_at_once)
    raise KeyboardInterrupt
