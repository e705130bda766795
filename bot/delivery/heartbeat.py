"""The heartbeat: while the relay is ready, it regularly starts a workflow that does nothing.

A heartbeat needs all that a delivery needs: the process, Discord, the store, credentials and the API. So an
alarm on its absence finds what no error reports, above all a bot that is online but hears nothing. It never
goes through the outbox, because a late heartbeat says nothing.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import orjson
import structlog

from bot.clock import Clock, system_clock
from bot.errors import DeliveryError
from bot.ulid import UlidFactory

WORKFLOW: Final = "heartbeat"
_MISSING_EVERY_S: Final = 900.0
_MISSING: Final = (
    "the API does not know the workflow heartbeat: the stack is older than this voice-relay. Update it with "
    "`voice-relay deploy`, or set VOICE_RELAY_HEARTBEAT_S to 0"
)

log = structlog.get_logger(__name__)


class Heartbeat:
    """Beats every *every_s* while *not_ready* returns no reason; *describe* returns what a beat tells.

    *start* is the API client's. Failures are counted, logged when they change, and never raised.
    """

    def __init__(
        self,
        start: Callable[[str, str, bytes], Awaitable[object]],
        *,
        every_s: float,
        not_ready: Callable[[], Sequence[str]],
        describe: Callable[[], Mapping[str, int]],
        clock: Clock = system_clock,
        monotonic_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._start = start
        self._every_s = every_s
        self._not_ready = not_ready
        self._describe = describe
        self._clock = clock
        self._monotonic_s = monotonic_s
        self._sleep = sleep
        self._random = random
        self._new_id = UlidFactory()
        self._state = ""
        self._well_s = monotonic_s()
        self.beats = 0
        self.failures = 0

    async def run(self) -> None:
        """Beat until cancelled."""
        # Processes started together do not beat together.
        await self._sleep(self._every_s * self._random())
        while True:
            begun_s = self._monotonic_s()
            pause_s = self._every_s if self._not_ready() else await self._beat()
            await self._sleep(max(0.0, begun_s + pause_s - self._monotonic_s()))

    @property
    def age_s(self) -> float:
        """Seconds since the last accepted heartbeat; before the first, since the start."""
        return self._monotonic_s() - self._well_s

    async def _beat(self) -> float:
        """Send a heartbeat, and return how long after its start the next is due."""
        name = f"{WORKFLOW}-{self._new_id(self._clock())}"
        try:
            await self._start(WORKFLOW, name, orjson.dumps({"id": name, **self._describe()}))
        except Exception as error:  # noqa: BLE001  # a heartbeat must not end the process
            return self._fail(error)
        self.beats += 1
        self._well_s = self._monotonic_s()
        if self._change_state("well"):
            log.info("heartbeat_accepted", every_s=self._every_s)
        return self._every_s

    def _fail(self, error: Exception) -> float:
        self.failures += 1
        status = error.status if isinstance(error, DeliveryError) else None
        missing = status == 404
        retry_s = max(self._every_s, _MISSING_EVERY_S) if missing else self._every_s
        if self._change_state("missing" if missing else type(error).__name__):
            log.warning(
                "heartbeat_failed",
                reason=_MISSING if missing else str(error),
                status=status,
                retry_s=retry_s,
                exc_info=None if isinstance(error, DeliveryError) else error,
            )
        return retry_s

    def _change_state(self, state: str) -> bool:
        changed, self._state = state != self._state, state
        return changed
