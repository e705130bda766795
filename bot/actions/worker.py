"""The worker of the activity: takes tasks, has them performed, and reports how they went.

A few polls wait for tasks at once. Each task that they bring is performed beside them, with a heartbeat every
``BEAT_S``, up to a bound; then no more are taken, and the rest wait in AWS.

AWS can hand a task to a worker that is gone: one that was killed, or whose polls were cut off at a shutdown,
since AWS may hold a poll for the rest of its minute. Such a task is not lost: without a heartbeat it times
out after its HeartbeatSeconds, and the workflow's Retry hands it out again. A minute after a worker's end
none of its polls is left, so a task is repeated for this reason at most 1 + 60/HeartbeatSeconds times.

    success                     SendTaskSuccess, repeated with backoff while AWS does not answer
    refusal, by name            SendTaskFailure, likewise
    output that AWS refuses     SendTaskFailure, as Action.Failed: it is too long, and done already
    no longer waited for        the action is cancelled, if it still runs: another worker may have it by now
    no report gets through      left to the heartbeat's time-out, and done again
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final

import structlog

from bot.actions.refusal import FAILED, ActionError
from bot.api.activities import GONE, Activities, ActivityTask
from bot.backoff import backoff_s
from bot.errors import DeliveryError, Rejected, TemporaryFailure

POLLS: Final = 4
AT_ONCE: Final = 16
"""Polls and actions together."""
BEAT_S: Final = 5.0

_FAILURES_TO_SAY: Final = 3
_REPORT_S: Final = 60.0
_EMPTY_S: Final = 1.0
_HELD_S: Final = 15.0
"""A poll that is out for longer has a connection, and AWS let it in."""

log = structlog.get_logger(__name__)

Perform = Callable[[str], Awaitable[dict[str, Any]]]


class Worker:
    """*perform* does a task and raises ActionError; *spawn* runs tasks of the loop and watches over them."""

    def __init__(
        self,
        activities: Activities,
        perform: Perform,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._activities = activities
        self._perform = perform
        self._spawn = spawn
        self._places = asyncio.Semaphore(AT_ONCE)
        self._polls: set[asyncio.Task[None]] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._pause_until_s = 0.0
        self._trouble: str | None = None
        # Not after a poll that was out for its whole time, and brought no answer.
        self._hold_tells = True
        self.done = 0
        self.refused = 0

    @property
    def trouble(self) -> str | None:
        """Why no tasks come; ``None`` while all is well, and once AWS holds a poll."""
        held = self._hold_tells and _now_s() > self._pause_until_s + _HELD_S
        return None if held else self._trouble

    @property
    def running(self) -> int:
        """How many actions are being performed."""
        return len(self._running)

    def start(self) -> None:
        """Take tasks from now on."""
        self._polls = {self._spawn(self._keep_polling()) for _ in range(POLLS)}

    def stop(self) -> None:
        """Take no more tasks; those that run go on."""
        for poll in self._polls:
            poll.cancel()

    async def close(self, grace_s: float) -> None:
        """Let what runs finish within *grace_s*; the rest is left to the heartbeat's time-out."""
        self.stop()
        if self._running:
            await asyncio.wait(self._running, timeout=grace_s)
        left = [*self._polls, *self._running]
        if self._running:
            log.warning("actions_left", actions=len(self._running), next="AWS hands them out again")
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _keep_polling(self) -> None:
        while True:
            await self._places.acquire()
            task = None
            try:
                task = await self._poll()
            finally:
                if task is None:
                    self._places.release()
            if task is not None:
                running = self._spawn(self._work(task))
                self._running.add(running)
                running.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._places.release()

    async def _poll(self) -> ActivityTask | None:
        """Return a task, or ``None`` if there was none; waits first while polls fail."""
        await asyncio.sleep(max(0.0, self._pause_until_s - _now_s()))
        since_s = _now_s()
        try:
            task = await self._activities.poll()
        except DeliveryError as error:
            self._note_failure(error)
            return None
        except Exception as error:  # it must not end the relay
            log.error("activity_poll_broke", exc_info=error)
            self._note_failure(TemporaryFailure(f"the poll failed unexpectedly ({type(error).__name__})"))
            return None
        if self._trouble is not None:
            log.info("activity_polls_work", failures=self._failures)
        self._failures, self._trouble, self._hold_tells = 0, None, True
        if task is None:
            # Held for a minute by AWS; whatever else answers must not be asked in a tight loop.
            await asyncio.sleep(max(0.0, since_s + _EMPTY_S - _now_s()))
        return task

    def _note_failure(self, error: DeliveryError) -> None:
        # The other polls were out when the first of them failed, and tell nothing new.
        if self._pause_until_s > _now_s():
            return
        retry_after_s = error.retry_after_s if isinstance(error, TemporaryFailure) else None
        pause_s = backoff_s(self._failures, retry_after_s)
        self._failures += 1
        connected = isinstance(error, TemporaryFailure) and error.outcome_unknown
        self._hold_tells = not (connected and error.code == "Timeout")
        self._pause_until_s = _now_s() + pause_s
        if self._failures >= _FAILURES_TO_SAY or not isinstance(error, TemporaryFailure):
            self._trouble = f"cannot take actions from AWS: {error}"
            log.warning(
                "activity_polls_fail", failures=self._failures, reason=str(error), retry_s=round(pause_s, 1)
            )

    async def _work(self, task: ActivityTask) -> None:
        work = asyncio.create_task(self._settle(task))
        beat = asyncio.create_task(self._beat(task, work))
        try:
            await asyncio.wait([work])
        finally:
            for each in (work, beat):
                each.cancel()
            ends = await asyncio.gather(work, beat, return_exceptions=True)
        for error in ends:
            # It must not end the relay.
            if isinstance(error, Exception):
                log.error("action_broke", exc_info=error)

    async def _settle(self, task: ActivityTask) -> None:
        try:
            output = await self._perform(task.input)
        except ActionError as refusal:
            self.refused += 1
            await self._report(partial(self._activities.fail, task.token, refusal.name, refusal.cause))
        else:
            self.done += 1
            if refused := await self._report(partial(self._activities.succeed, task.token, output)):
                # Not repeated: its output would be refused again.
                cause = f"it was done, but AWS does not take its output: {refused}"
                await self._report(partial(self._activities.fail, task.token, FAILED, cause))

    async def _report(self, send: Callable[[], Awaitable[None]]) -> Rejected | None:
        """Report an end; returns why AWS does not take it, if the task is still waited for."""
        until_s, failures = _now_s() + _REPORT_S, 0
        while True:
            try:
                await send()
            except Rejected as error:
                if error.code not in GONE:
                    log.error("action_end_refused", reason=str(error))
                    return error
                log.warning("action_not_awaited", reason=str(error))
            except DeliveryError as error:
                delay_s = backoff_s(failures)
                failures += 1
                if _now_s() + delay_s < until_s:
                    await asyncio.sleep(delay_s)
                    continue
                log.error("action_not_reported", reason=str(error), next="AWS hands it out again")
            return None

    async def _beat(self, task: ActivityTask, work: asyncio.Future[None]) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                await self._activities.heartbeat(task.token)
            except Rejected as error:
                if error.code in GONE:
                    log.warning("action_abandoned", reason=str(error))
                    work.cancel()
                    return
            except DeliveryError:
                # The next one may get through; the report says what is wrong if none does.
                continue


def _now_s() -> float:
    return asyncio.get_running_loop().time()
