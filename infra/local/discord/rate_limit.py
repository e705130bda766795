"""Discord's rate limit for one route: a number of requests in a window that starts with the first."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class RateLimit:
    """The default is the measured limit of webhooks; Discord documents none."""

    # facts: 5 per 2 s per webhook, https://github.com/discord/discord-api-docs/issues/367
    requests: int = 5
    per_s: float = 2.0


@dataclass(frozen=True)
class Grant:
    """The decision for one request; ``reset_at`` is in seconds since the Unix epoch."""

    allowed: bool
    limit: int
    remaining: int
    reset_after_s: float
    reset_at: float

    def build_headers(self, bucket: str) -> dict[str, str]:
        # https://docs.discord.com/developers/topics/rate-limits#header-format-rate-limit-header-examples
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": f"{self.reset_at:.3f}",
            "X-RateLimit-Reset-After": f"{self.reset_after_s:.3f}",
            "X-RateLimit-Bucket": bucket,
        }


class Window:
    """Counts the requests of one webhook."""

    def __init__(
        self,
        limit: RateLimit,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._limit = limit
        self._clock = clock
        self._wall_clock = wall_clock
        self._ends_at = -math.inf
        self._used = 0

    def take(self) -> Grant:
        """Count a request and decide whether it is allowed."""
        now = self._clock()
        if now >= self._ends_at:
            self._ends_at = now + self._limit.per_s
            self._used = 0
        allowed = self._used < self._limit.requests
        if allowed:
            self._used += 1
        # Rounded up to the reported millisecond, so that waiting exactly that long is enough.
        left_s = math.ceil((self._ends_at - now) * 1000) / 1000
        return Grant(
            allowed=allowed,
            limit=self._limit.requests,
            remaining=self._limit.requests - self._used,
            reset_after_s=left_s,
            reset_at=self._wall_clock() + left_s,
        )
