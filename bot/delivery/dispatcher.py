"""From the outbox to the API: every batch is sent until the API accepts it, or says that it never will.

Batches come one per lane, so they are sent side by side without disturbing the order within a lane. After a
temporary failure the batch keeps its place and is retried; so it is when the caller is refused, which is said
loudly. When a workflow's route fails for every batch, its circuit breaker lets one probe through at a time.

A rejected batch is split only if no attempt can have been accepted: of one whose answer was lost, the events
stay together and become dead letters, because sent under new names they might arrive twice.

A batch that is a signal goes the same way, by a route that the signals of all workflows share.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final, TypeVar

import structlog

from bot.backoff import backoff_s
from bot.clock import Clock, format_ms, system_clock
from bot.delivery.route import Route, outcome_unknown, retry_after_s
from bot.delivery.signalling import NotWaiting, Send, Settled, send_signal
from bot.errors import DeliveryError, Rejected, TemporaryFailure
from bot.outbox.batch import Acceptance, Accepted, Batch, Delivered, Failed, Refused, Report

_UNSURE: Final = "; an earlier attempt had no answer, so look for the execution {name} before a redrive"

_SIGNALS: Final = "signal"
_NOT_WAITING_CAP_S: Final = 5.0

_EXPIRED: Final = "expired: it was tried for longer than MAX_EVENT_AGE_S, at last: {reason}"

_LOG_WAIT_S: Final = 0.05

_T = TypeVar("_T")

log = structlog.get_logger(__name__)


class Dispatcher:
    """*start* and *signal* are the API's, *report* the outbox's; *spawn* runs a task and watches over it.

    ``deliver`` takes batches. ``close`` waits for those in flight and gives up the rest, which stay in the
    outbox as they are, and are sent again, the same, by the next process. What is accepted goes to *follow*
    if its workflow *is_followed*, and is delivered otherwise. *can_bury* says whether there is room for dead
    letters; without it nothing is given up.
    """

    def __init__(
        self,
        start: Callable[[str, str, bytes], Awaitable[str]],
        report: Callable[[Report], object],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        *,
        signal: Send,
        is_followed: Callable[[str], bool] = lambda _: False,
        follow: Callable[[Batch], object] = lambda _: None,
        can_bury: Callable[[], bool] = lambda: True,
        clock: Clock = system_clock,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._start = start
        self._signal = signal
        self._report = report
        self._spawn = spawn
        self._is_followed = is_followed
        self._follow = follow
        self._can_bury = can_bury
        self._clock = clock
        self._sleep = sleep
        self._routes: dict[str, Route] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.Task[None]] = set()
        self._unlogged: list[tuple[int, str, dict[str, Any]]] = []
        self._closing = False
        self.delivered = 0

    def deliver(self, batches: Iterable[Batch]) -> None:
        """Begin to send *batches*."""
        for batch in batches:
            if self._closing:
                return
            if batch.accepted is not None:
                self._follow(batch)
                continue
            delivery = self._deliver(batch)
            try:
                task = self._spawn(delivery)
            except RuntimeError:
                # The task group is shutting down; the batch stays in the outbox for the next process.
                delivery.close()
                return
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self._route(batch).enter(task)

    @property
    def in_flight(self) -> int:
        return len(self._tasks)

    @property
    def trouble(self) -> str | None:
        """Why nothing gets through to a workflow, for each in trouble; ``None`` where all is well."""
        return "; ".join(route.trouble for route in self._routes.values() if route.trouble) or None

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
        self._log_accepted()

    async def _deliver(self, batch: Batch) -> None:
        route = self._route(batch)
        attempts, unsure = 0, batch.sent_before
        while True:
            probe = route.breaker.state != "closed" and await self._idle_for(route.breaker.enter())
            attempts += 1
            try:
                sent = await self._send(batch)
            except DeliveryError as caught:
                error = caught
            except Exception as caught:  # noqa: BLE001  # it must not end the relay
                error = _unforeseen(batch, caught)
            except BaseException:
                route.breaker.abandon(probe=probe)
                raise
            else:
                route.accept(probe=probe)
                self._settle(batch, sent, attempts)
                return
            unsure = batch.signal is None and (unsure or outcome_unknown(error))
            split = len(batch.event_ids) > 1 and not unsure
            settles = split or self._can_bury()
            if settles and isinstance(error, Rejected) and route.believes(split=split):
                route.reject(probe=probe)
                self._refused(batch, str(error), split=split, unsure=unsure)
                return
            route.fail(error, probe=probe)
            if self._closing:
                return
            if self._clock() >= batch.expires_ms and self._can_bury():
                self._refused(batch, _EXPIRED.format(reason=error), split=False, unsure=unsure)
                return
            self._report(Failed(batch, attempts, route.explain(error)))
            await self._back_off(batch, route, error, attempts)

    async def _send(self, batch: Batch) -> str | Settled:
        """Return the ARN of the execution that *batch* started, or what became of it as a signal."""
        if batch.signal is not None:
            return await send_signal(self._signal, batch, batch.signal, self._clock)
        return await self._start(batch.lane.workflow, batch.execution, batch.body)

    def _settle(self, batch: Batch, sent: str | Settled, attempts: int) -> None:
        facts: dict[str, Any] = {
            "execution": batch.execution,
            "workflow": batch.lane.workflow,
            "guild_id": batch.lane.guild_id,
            "events": len(batch.event_ids),
            "attempts": attempts,
        }
        if isinstance(sent, Settled):
            self._settle_signal(batch, sent, facts)
        else:
            self._accept(batch, sent, facts)

    def _settle_signal(self, batch: Batch, settled: Settled, facts: dict[str, Any]) -> None:
        assert batch.signal is not None  # noqa: S101  # it was sent as one
        self.delivered += 1
        self._report(Delivered(batch, "", facts["attempts"], settled.outcome, settled.ended))
        facts["execution"] = batch.signal.execution
        log.info("signal_settled", **facts, signal=batch.signal.name, outcome=settled.outcome)

    def _accept(self, batch: Batch, arn: str, facts: dict[str, Any]) -> None:
        attempts = facts["attempts"]
        # Without its ARN, which only an unusual answer lacks, an execution cannot be asked after.
        if arn and self._is_followed(batch.lane.workflow):
            accepted = dataclasses.replace(
                batch, body=b"", sent_before=False, accepted=Acceptance(arn, attempts, self._clock())
            )
            self._report(Accepted(accepted))
            self._follow(accepted)
            self._log_soon("batch_accepted", facts)
        else:
            self.delivered += len(batch.event_ids)
            self._report(Delivered(batch, arn, attempts))
            self._log_soon("batch_delivered", facts)

    def _log_soon(self, event: str, facts: dict[str, Any]) -> None:
        """Log it in a moment, together with what else is accepted until then: batches that wait go first."""
        if not self._unlogged:
            asyncio.get_running_loop().call_later(_LOG_WAIT_S, self._log_accepted)
        self._unlogged.append((self._clock(), event, facts))

    def _log_accepted(self) -> None:
        unlogged, self._unlogged = self._unlogged, []
        for at_ms, event, facts in unlogged:
            log.info(event, timestamp=format_ms(at_ms), **facts)

    def _refused(self, batch: Batch, reason: str, *, split: bool, unsure: bool) -> None:
        if unsure:
            reason += _UNSURE.format(name=batch.execution)
        self._report(Refused(batch, reason, split))
        if split:
            log.warning("batch_split", execution=batch.execution, events=len(batch.event_ids), reason=reason)
            return
        for event_id in batch.event_ids:
            log.error("event_dead_lettered", execution=batch.execution, event_id=event_id, reason=reason)

    def _route(self, batch: Batch) -> Route:
        name = batch.lane.workflow if batch.signal is None else _SIGNALS
        if name not in self._routes:
            self._routes[name] = Route(name, sleep=self._sleep)
        return self._routes[name]

    async def _back_off(self, batch: Batch, route: Route, error: DeliveryError, attempts: int) -> None:
        """Wait for the next attempt, unless the open breaker is the wait."""
        is_open = route.breaker.state != "closed"
        cap_s = _NOT_WAITING_CAP_S if isinstance(error, NotWaiting) else None
        delay_s = route.breaker.open_s if is_open else backoff_s(attempts, retry_after_s(error), cap_s=cap_s)
        write = log.warning if isinstance(error, TemporaryFailure) else log.error
        write(
            "batch_retried_later",
            execution=batch.execution,
            events=len(batch.event_ids),
            attempts=attempts,
            reason=route.explain(error),
            status=error.status,
            retry_s=round(delay_s, 1),
            circuit_breaker=route.breaker.state,
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


def _unforeseen(batch: Batch, error: Exception) -> TemporaryFailure:
    """Return what an exception means that is no DeliveryError: it ends the attempt, and nothing else."""
    # Its text may quote a header.
    log.error("attempt_failed", execution=batch.execution, exc_info=error)
    reason = f"the attempt failed unexpectedly ({type(error).__name__})"
    return TemporaryFailure(reason, code=type(error).__name__, outcome_unknown=True)
