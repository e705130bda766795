"""Time: milliseconds since 1970 internally, RFC 3339 in UTC in events and logs."""

import functools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

Clock = Callable[[], int]
"""Returns milliseconds since 1970."""


def system_clock() -> int:
    """Return the system time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


# time.monotonic() stands still while the machine sleeps, on Linux and on macOS.
_ELAPSED: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed_clock() -> int:
    """Return milliseconds since some moment; nothing sets this clock, and it counts a machine's sleep."""
    return time.clock_gettime_ns(_ELAPSED) // 1_000_000


# Cached because a burst has several events in a millisecond, and formatting a date costs as much as the
# rest of an event.
@functools.lru_cache(maxsize=8)
def format_ms(ms: int) -> str:
    """Return *ms* as RFC 3339 in UTC, to the millisecond: ``2026-11-21T07:00:00.123Z``."""
    seconds, rest = divmod(ms, 1000)
    return f"{_format_second(seconds)}.{rest:03d}Z"


@functools.lru_cache(maxsize=8)
def _format_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
