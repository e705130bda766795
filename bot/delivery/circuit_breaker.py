"""A circuit breaker: while an endpoint is down, one request at a time asks whether it is back.

    closed      requests go as they come
                ── several failures in a row ──▶ open
    open        no request goes; after the backoff, one caller is let through as the probe ──▶ half-open
    half-open   the probe is out
                ── it succeeds ──▶ closed, and everybody goes on
                ── it fails ──▶ open, for longer

Without it every lane would retry by itself for as long as an outage lasts, and all of them at its end.
"""

# https://learn.microsoft.com/azure/architecture/patterns/circuit-breaker

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from bot.backoff import backoff_s

FAILURES_TO_OPEN: Final = 3
"""A single failure may be one connection's; this many in a row are the endpoint's."""

State = Literal["closed", "open", "half-open"]


class CircuitBreaker:
    """Guards one endpoint.

    Every ``enter`` is followed by one ``succeed``, ``fail`` or ``abandon`` with what it returned: whether the
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
        self._probe_waits = False
        self._probe_out = False
        self._changed = asyncio.Event()
        self.open_s = 0.0
        """How long it stays open before the next probe."""

    @property
    def state(self) -> State:
        if self._failures < FAILURES_TO_OPEN:
            return "closed"
        return "half-open" if self._probe_out else "open"

    async def enter(self) -> bool:
        """Wait until a request may go, and return whether it is the probe."""
        while self.state != "closed":
            if self._probe_waits or self._probe_out:
                await self._changed.wait()
                continue
            self._probe_waits = True
            try:
                await self._sleep(self.open_s)
            except BaseException:
                self.abandon(probe=True)
                raise
            self._probe_waits, self._probe_out = False, True
            return True
        return False

    def succeed(self, *, probe: bool) -> None:
        """Note that the endpoint does its work, even if it refused the request for good."""
        if self._failures or probe:
            self._failures = 0
            self._wake(probe)

    def fail(self, retry_after_s: float | None = None, *, probe: bool) -> None:
        """Note that the endpoint failed; it may have asked to be left alone for *retry_after_s*."""
        # A request that was sent before the breaker opened tells nothing new.
        if probe or self.state == "closed":
            self._failures += 1
            self.open_s = self._backoff(self._failures, retry_after_s)
        self._wake(probe)

    def abandon(self, *, probe: bool) -> None:
        """Give up without having learned anything; another caller may probe."""
        self._wake(probe)

    def _wake(self, probe: bool) -> None:
        if probe:
            self._probe_waits = self._probe_out = False
        self._changed.set()
        self._changed = asyncio.Event()
