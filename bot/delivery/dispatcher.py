"""From the outbox to the API: every batch is sent until the API has taken it, or has said that it never will.

Batches come one per lane, so they are sent side by side without disturbing the order within a lane. A failure
that may pass keeps the batch and its place; a refusal of the caller does so too, and is said aloud. When the
endpoint fails for all, all wait for one probe.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog

from bot.backoff import backoff_s
from bot.delivery.circuit_breaker import EndpointGate
from bot.errors import DeliveryError, Rejected, TemporaryFailure, Unauthorized
from bot.outbox.batch import Batch, Delivered, Failed, Refused, Report

_T = TypeVar("_T")

log = structlog.get_logger(__name__)


class Dispatcher:
    """*start* is the API client's, *report* the outbox's; *spawn* runs a task and minds its failure.

    ``deliver`` takes a batch; ``close`` waits for what is in flight and gives up the rest, which stays in the
    outbox as it is and is sent again, the same, by the next process.
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
        self._gates: dict[str, EndpointGate] = {}
        self._sleep = sleep
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: set[asyncio.Task[None]] = set()
        self._closing = False
        self.delivered = 0
        self.trouble: str | None = None
        """Why nothing gets through; ``None`` while the API takes what it is given."""

    def deliver(self, batch: Batch) -> None:
        """Begin to send *batch*."""
        if self._closing:
            return
        delivery = self._deliver(batch)
        try:
            task = self._spawn(delivery)
        except RuntimeError:
            # The task group is on its way out; the batch stays in the outbox for the next process.
            delivery.close()
            return
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def in_flight(self) -> int:
        return len(self._tasks)

    async def close(self, grace_s: float) -> None:
        """Let requests that are out come home for *grace_s*; what waits for its next attempt ends now."""
        self._closing = True
        for task in self._waiting:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _deliver(self, batch: Batch) -> None:
        attempts = 0
        gate = self._gate_of(batch)
        while True:
            probe = await self._waiting_for(gate.enter())
            attempts += 1
            try:
                arn = await self._start(batch.lane.workflow, batch.execution, batch.body)
            except (TemporaryFailure, Unauthorized) as error:
                gate.fail(_wish(error), probe=probe)
                if self._closing:
                    return
                self._report(Failed(batch, attempts, str(error)))
                await self._fail(batch, gate, error, attempts)
            except Rejected as error:
                gate.succeed(probe=probe)
                self._reject(batch, error)
                return
            except BaseException:
                gate.leave(probe=probe)
                raise
            else:
                gate.succeed(probe=probe)
                self._succeed(batch, arn, attempts)
                return

    def _succeed(self, batch: Batch, arn: str, attempts: int) -> None:
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

    def _reject(self, batch: Batch, error: Rejected) -> None:
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

    def _gate_of(self, batch: Batch) -> EndpointGate:
        """Return the gate before the batch's route: a workflow that is not deployed stops no other."""
        workflow = batch.lane.workflow
        if workflow not in self._gates:
            self._gates[workflow] = EndpointGate(sleep=self._sleep)
        return self._gates[workflow]

    async def _fail(self, batch: Batch, gate: EndpointGate, error: DeliveryError, attempts: int) -> None:
        """Wait for the next attempt, unless the endpoint's pause is the wait."""
        paused = gate.paused
        delay_s = gate.pause_s if paused else backoff_s(attempts, _wish(error))
        if paused or isinstance(error, Unauthorized):
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
            endpoint_paused=paused,
        )
        if paused:
            # Whoever has waited longer probes next: this batch may be what is wrong.
            await asyncio.sleep(0)
        else:
            await self._waiting_for(self._sleep(delay_s))

    async def _waiting_for(self, wait: Awaitable[_T]) -> _T:
        """Await *wait*, as a task that ends at once when the dispatcher closes."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # it is one of ours
        self._waiting.add(task)
        try:
            return await wait
        finally:
            self._waiting.discard(task)


def _wish(error: DeliveryError) -> float | None:
    return error.retry_after_s if isinstance(error, TemporaryFailure) else None
