"""One sick endpoint pauses for everybody: while it is down one request at a time asks whether it is back.

    open     requests go as they come
             ── several failures in a row, no success between them ──▶ paused
    paused   nothing goes; after the backoff one caller is let through as the probe
             ── the probe succeeds ──▶ open, and everybody goes on
             ── the probe fails ──▶ paused for longer

Without it every lane would knock by itself for as long as an outage lasts, and all of them at its end.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from bot.backoff import backoff_s

FAILURES_TO_PAUSE: Final = 3
"""A single failure may be one connection's; this many in a row are the endpoint's."""


class EndpointGate:
    """Stands before one endpoint.

    Every ``enter`` is followed by one ``succeed``, ``fail`` or ``leave`` with what it returned: whether the
    caller is the probe.
    """

    def __init__(
        self,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        backoff: Callable[[int, float | None], float] = backoff_s,
    ) -> None:
        self._sleep = sleep
        self._backoff = backoff
        self._failures = 0
        self._probing = False
        self._changed = asyncio.Event()
        self.pause_s = 0.0

    @property
    def paused(self) -> bool:
        return self._failures >= FAILURES_TO_PAUSE

    async def enter(self) -> bool:
        """Return when a request may go: at once, when the pause is over, or as the probe."""
        while self.paused:
            if self._probing:
                await self._changed.wait()
                continue
            self._probing = True
            try:
                await self._sleep(self.pause_s)
            except BaseException:
                self.leave(probe=True)
                raise
            return True
        return False

    def succeed(self, *, probe: bool) -> None:
        """Take note that the endpoint does its work, be it that it refused the batch for good."""
        self._failures = 0
        self._tell(probe)

    def fail(self, retry_after_s: float | None = None, *, probe: bool) -> None:
        """Take note that the endpoint did not do its work; *retry_after_s* is its own wish."""
        # What was sent before the pause and fails after its beginning is no news.
        if probe or not self.paused:
            self._failures += 1
            self.pause_s = self._backoff(self._failures, retry_after_s)
        self._tell(probe)

    def leave(self, *, probe: bool) -> None:
        """Give up without having learned anything; somebody else may probe."""
        self._tell(probe)

    def _tell(self, probe: bool) -> None:
        if probe:
            self._probing = False
        self._changed.set()
        self._changed = asyncio.Event()
