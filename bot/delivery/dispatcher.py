"""From the outbox to the API: every batch is sent until the API accepts it, or says that it never will.

Batches come one per lane, so they are sent side by side without disturbing the order within a lane. After a
temporary failure the batch keeps its place and is retried; so it is when the caller is refused, which is said
loudly. When a workflow's route fails for every batch, its circuit breaker lets one probe through at a time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

import structlog

from bot.backoff import backoff_s
from bot.delivery.circuit_breaker import CircuitBreaker
from bot.errors import DeliveryError, Rejected, TemporaryFailure, Unauthorized
from bot.outbox.batch import Batch, Delivered, Failed, Refused, Report

_T = TypeVar("_T")

log = structlog.get_logger(__name__)


class Dispatcher:
    """*start* is the API client's, *report* the outbox's; *spawn* runs a task and watches over it.

    ``deliver`` takes batches. ``close`` waits for those in flight and gives up the rest, which stay in the
    outbox as they are, and are sent again, the same, by the next process.
    """

    def __init__(
        self,
        start: Callable[[str, str, bytes], Awaitable[str]],
        report: Callable[[Report], object],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._start = start
        self._report = report
        self._spawn = spawn
        self._sleep = sleep
        self._breakers: dict[str, CircuitBreaker] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.Task[None]] = set()
        self._closing = False
        self.delivered = 0
        self.trouble: str | None = None
        """Why nothing gets through; ``None`` while the API accepts batches."""

    def deliver(self, batches: Iterable[Batch]) -> None:
        """Begin to send *batches*."""
        for batch in batches:
            if self._closing:
                return
            delivery = self._deliver(batch)
            try:
                task = self._spawn(delivery)
            except RuntimeError:
                # The task group is shutting down; the batch stays in the outbox for the next process.
                delivery.close()
                return
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    @property
    def in_flight(self) -> int:
        return len(self._tasks)

    async def close(self, grace_s: float) -> None:
        """Give requests that are out *grace_s* to finish; end at once what waits for its next attempt."""
        self._closing = True
        for task in self._idle:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _deliver(self, batch: Batch) -> None:
        attempts = 0
        breaker = self._breaker(batch.lane.workflow)
        while True:
            probe = await self._idle_for(breaker.enter())
            attempts += 1
            try:
                arn = await self._start(batch.lane.workflow, batch.execution, batch.body)
            except (TemporaryFailure, Unauthorized) as error:
                breaker.fail(_retry_after_s(error), probe=probe)
                if self._closing:
                    return
                self._report(Failed(batch, attempts, str(error)))
                await self._back_off(batch, breaker, error, attempts)
            except Rejected as error:
                breaker.succeed(probe=probe)
                self._refused(batch, error)
                return
            except BaseException:
                breaker.abandon(probe=probe)
                raise
            else:
                breaker.succeed(probe=probe)
                self._delivered(batch, arn, attempts)
                return

    def _delivered(self, batch: Batch, arn: str, attempts: int) -> None:
        self.delivered += len(batch.event_ids)
        self.trouble = None
        self._report(Delivered(batch, arn, attempts))
        log.info(
            "batch_delivered",
            execution=batch.execution,
            workflow=batch.lane.workflow,
            guild_id=batch.lane.guild_id,
            events=len(batch.event_ids),
            attempts=attempts,
        )

    def _refused(self, batch: Batch, error: Rejected) -> None:
        self._report(Refused(batch, str(error)))
        if len(batch.event_ids) > 1:
            log.warning(
                "batch_split", execution=batch.execution, events=len(batch.event_ids), reason=str(error)
            )
        else:
            log.error(
                "event_dead_lettered",
                execution=batch.execution,
                event_id=batch.event_ids[0],
                reason=str(error),
            )

    def _breaker(self, workflow: str) -> CircuitBreaker:
        """Return the breaker of the workflow's route: one that is not deployed stops no other."""
        if workflow not in self._breakers:
            self._breakers[workflow] = CircuitBreaker(sleep=self._sleep)
        return self._breakers[workflow]

    async def _back_off(
        self, batch: Batch, breaker: CircuitBreaker, error: DeliveryError, attempts: int
    ) -> None:
        """Wait for the next attempt, unless the open breaker is the wait."""
        is_open = breaker.state != "closed"
        delay_s = breaker.open_s if is_open else backoff_s(attempts, _retry_after_s(error))
        if is_open or isinstance(error, Unauthorized):
            self.trouble = str(error)
        write = log.error if isinstance(error, Unauthorized) else log.warning
        write(
            "batch_retried_later",
            execution=batch.execution,
            events=len(batch.event_ids),
            attempts=attempts,
            reason=str(error),
            status=error.status,
            retry_s=round(delay_s, 1),
            circuit_breaker=breaker.state,
        )
        if is_open:
            # Let a batch that has waited longer probe next: this one may be what is wrong.
            await asyncio.sleep(0)
        else:
            await self._idle_for(self._sleep(delay_s))

    async def _idle_for(self, wait: Awaitable[_T]) -> _T:
        """Await *wait*; closing the dispatcher ends it at once."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # it is one of ours
        self._idle.add(task)
        try:
            return await wait
        finally:
            self._idle.discard(task)


def _retry_after_s(error: DeliveryError) -> float | None:
    return error.retry_after_s if isinstance(error, TemporaryFailure) else None
