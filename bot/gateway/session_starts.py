"""Leave to IDENTIFY, which Discord limits: by the day for a bot, and by the seconds for its shards.

Over the day's limit Discord ends all sessions and resets the token. So the limit is asked for before each
IDENTIFY (other processes of the bot may have used some), and at 0 nothing is sent until it starts anew.
RESUME is free.
"""

# https://docs.discord.com/developers/events/gateway#session-start-limit-object
# https://docs.discord.com/developers/events/gateway#sharding-max-concurrency

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from bot.gateway.rest import Limits

WINDOW_S = 5.0
"""In so many seconds ``max_concurrency`` shards may IDENTIFY."""

_ASK_AGAIN_S: Final = 3600.0
_SETTLED_S = 1.0

log = structlog.get_logger(__name__)

Ask = Callable[[], Awaitable[Limits]]
"""GET /gateway/bot."""


class SessionStarts:
    """Gives leave to IDENTIFY, to all shards of the process.

    ``url`` is the gateway's address, empty until Discord has been asked for it.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.url = ""
        self.advised_shards = 1
        self._remaining = 0
        self._reset_after_s = 0.0
        self._concurrency = 1
        self._granted: set[int] = set()
        self._asking = asyncio.Lock()
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._identified_at: dict[int, float] = {}

    @property
    def remaining(self) -> int:
        """How many IDENTIFYs were left today when last asked."""
        return self._remaining

    async def ask(self) -> None:
        """Ask Discord for the address and the limits; raises what the request does."""
        limits = await self._ask()
        self._remaining, self._reset_after_s = limits.remaining, limits.reset_after_s
        self._concurrency = limits.max_concurrency
        self.advised_shards, self.url = limits.shards, limits.url

    async def allow(self, shard_id: int, say: Callable[[str], object]) -> None:
        """Wait until the day's limit has an IDENTIFY for the shard; *say* is told why that takes time.

        It is set aside for the shard until ``settle``.
        """
        while not await self._grant(shard_id):
            wait_s = min(_ASK_AGAIN_S, self._reset_after_s) + 1.0
            reason = f"Discord allows no more IDENTIFYs for {round(self._reset_after_s)} s"
            say(reason)
            log.error("identify_postponed", shard_id=shard_id, reason=reason, retry_s=round(wait_s))
            await asyncio.sleep(wait_s)
        # No use in being connected long before one's turn.
        await asyncio.sleep(WINDOW_S * self._count_ahead(shard_id))

    async def _grant(self, shard_id: int) -> bool:
        """Set one IDENTIFY aside for the shard; False if the day has none left. One shard asks at a time."""
        async with self._asking:
            await self.ask()
            while 0 < self._remaining <= len(self._granted):
                # They are set aside for other shards, or already counted: soon it is known.
                await asyncio.sleep(_SETTLED_S)
                await self.ask()
            if self._remaining > 0:
                self._granted.add(shard_id)
            return self._remaining > 0

    def _count_ahead(self, shard_id: int) -> int:
        return sum((other - shard_id) % self._concurrency == 0 for other in self._granted) - 1

    def settle(self, shard_id: int) -> None:
        """Take back what was set aside: it was used, or is not needed."""
        self._granted.discard(shard_id)

    async def take_turn(self, shard_id: int) -> None:
        """Wait, right before an IDENTIFY, for as long as shards of the same turn have to keep apart."""
        key = shard_id % self._concurrency
        loop = asyncio.get_running_loop()
        async with self._turns[key]:
            before = self._identified_at.get(key)
            if before is not None:
                await asyncio.sleep(max(0.0, before + WINDOW_S - loop.time()))
            self._identified_at[key] = loop.time()
