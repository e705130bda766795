"""From accepted to posted: asks after each followed execution until it has ended.

A lane's next batch starts when its last one has ended, so a channel reads in order even while Discord
throttles, and a message that Discord refuses is a dead letter with Discord's words. When each is asked after
is decided in ``polls``, what its end means for its events in ``posts``. Other answers:

    running                                    ask again, later
    no such execution, followed for NEW_FOR_S  send the batch again, the same: the embedded AWS forgets what
    or by an earlier process                   ran when it stops; AWS forgets 90 days after the end. One past
                                               its age, followed for NEW_FOR_S: dead letters
    not to be seen: too large, or no access    count as delivered, and warn: the API accepted it, and the lane
                                               must go on. One of an earlier process is sent again first
    anything else                              leave all polls alone for a while; say so after a few. Of one
                                               past its age, nothing else for BLIND_S: count as delivered
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import structlog

from bot.api.execution_responses import NOT_FOUND, SUCCEEDED, Execution
from bot.backoff import backoff_s
from bot.clock import Clock, system_clock
from bot.delivery.polls import POLL_CAP_S, POLL_FIRST_S, POLLS_PER_S, Followed, Polls
from bot.delivery.posts import Posts
from bot.errors import DeliveryError, Rejected, TemporaryFailure
from bot.outbox.batch import Acceptance, Batch, Deferred, Delivered, Forgotten, Refused, Report

NEW_FOR_S: Final = 15.0
"""DescribeExecution is eventually consistent and may not know a new execution yet."""
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html

BLIND_S: Final = 3600.0
"""For how long every poll of an execution must fail before its end is given up."""

_OUT_MAX: Final = 32
"""Polls out at once."""
_FAILURES_TO_SAY: Final = 3
_PAUSE_CAP_S: Final = 30.0
_CLOSING_CAP_S: Final = 0.5

log = structlog.get_logger(__name__)


class Follower:
    """*describe* is the API's, *report* the outbox's; *waits_behind* says whether events wait for a batch.

    ``run`` is its task; *spawn* runs a poll beside it and watches over it. *can_bury* says whether there is
    room for dead letters.
    """

    def __init__(
        self,
        describe: Callable[[str], Awaitable[Execution]],
        report: Callable[[Report], object],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        *,
        waits_behind: Callable[[Batch], bool] = lambda _: False,
        polls_per_s: float = POLLS_PER_S,
        can_bury: Callable[[], bool] = lambda: True,
        clock: Clock = system_clock,
    ) -> None:
        self._describe = describe
        self._report = report
        self._spawn = spawn
        self._can_bury = can_bury
        self._clock = clock
        self._polls = Polls(waits_behind, polls_per_s)
        self._out: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._trouble: str | None = None
        self._running = False
        self._closing = False
        self._changed = asyncio.Event()
        self._all_ended = asyncio.Event()
        self._posts: dict[str, Posts] = {}
        self.delivered = 0

    def follow(self, batch: Batch) -> None:
        """Follow *batch*, which was accepted."""
        first_s = 0.0 if batch.sent_before else POLL_FIRST_S
        self._add(Followed(batch, _now_s() + first_s, since_s=_now_s()))

    @property
    def following(self) -> int:
        return len(self._polls) + len(self._out)

    @property
    def refused(self) -> int:
        """How many posts Discord, or the proxy before it, has refused."""
        return sum(posts.refused for posts in self._posts.values())

    @property
    def trouble(self) -> str | None:
        """Why nothing is known of the executions, or why posts fail; ``None`` while all is well."""
        troubles = [self._trouble, *(posts.trouble for posts in self._posts.values())]
        return "; ".join(filter(None, troubles)) or None

    def forget_troubles(self) -> None:
        """Forget why posts failed: rules may have taken the place of those that led there.

        The next refusal tells it again.
        """
        for posts in self._posts.values():
            posts.trouble = None

    async def run(self) -> None:
        """Poll for as long as the task runs."""
        self._running = True
        try:
            while True:
                self._changed.clear()
                self._poll_due()
                wait_s = self._polls.wait_s(_now_s()) if len(self._out) < _OUT_MAX else None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._changed.wait()
        finally:
            self._running = False

    def _poll_due(self) -> None:
        while len(self._out) < _OUT_MAX and (followed := self._polls.take(_now_s())):
            task = self._spawn(self._poll(followed))
            self._out.add(task)
            task.add_done_callback(self._end_poll)

    async def close(self, grace_s: float) -> None:
        """Ask more often for up to *grace_s*, until all have ended; the next process follows the rest.

        Where ``run`` has ended, with the relay, there is nothing to wait for.
        """
        self._closing = True
        self._all_ended.clear()
        self._polls.hurry(_now_s())
        self._changed.set()
        if self.following and self._running:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._all_ended.wait()
        for task in self._out:
            task.cancel()
        await asyncio.gather(*self._out, return_exceptions=True)

    def _add(self, followed: Followed) -> None:
        self._polls.add(followed)
        self._changed.set()

    def _again(self, followed: Followed) -> None:
        followed.postpone(_now_s(), _CLOSING_CAP_S if self._closing else POLL_CAP_S)
        self._add(followed)

    def _end_poll(self, task: asyncio.Task[None]) -> None:
        self._out.discard(task)
        self._changed.set()
        if not self.following:
            self._all_ended.set()

    async def _poll(self, followed: Followed) -> None:
        try:
            execution = await self._describe(_acceptance(followed.batch).arn)
        except Rejected as error:
            self._note_rejection(followed, error)
        except DeliveryError as error:
            self._note_failure(followed, error)
        except Exception as error:  # it must not end the relay
            log.error("poll_failed", execution=followed.batch.execution, exc_info=error)
            text = f"the poll failed unexpectedly ({type(error).__name__})"
            self._note_failure(followed, TemporaryFailure(text, code=type(error).__name__))
        else:
            self._note_answer(followed)
            if execution.ended:
                self._end(followed.batch, execution)
            else:
                self._again(followed)

    def _note_answer(self, followed: Followed) -> None:
        """Note that the API told of the execution, be it that there is none."""
        self._failures, self._trouble = 0, None
        followed.blind_since_s = None

    def _note_rejection(self, followed: Followed, error: Rejected) -> None:
        """Handle an answer that does not change by asking again."""
        batch = followed.batch
        if error.status == 404:
            # The route is not deployed, or something in between answered.
            self._note_failure(followed, error)
        elif error.code != NOT_FOUND:
            self._failures = 0
            self._trouble = f"the end of executions cannot be seen: {error}"
            if batch.sent_before and self._clock() < batch.expires_ms:
                # It may be another stack's. One of this stack's is known by its name, and started once.
                self._forget(batch)
            else:
                self._settle_unseen(batch, error)
        else:
            self._note_answer(followed)
            self._note_unknown(followed, error)

    def _note_unknown(self, followed: Followed, error: Rejected) -> None:
        batch = followed.batch
        too_old = self._clock() >= batch.expires_ms and self._can_bury()
        # To send one of an earlier process again does no harm, since the API knows its name if it runs.
        if _now_s() - followed.since_s < NEW_FOR_S and (too_old or not batch.sent_before):
            self._again(followed)
        elif too_old:
            self._bury(batch, f"the API accepted it, and does not know its execution any more: {error}")
        else:
            self._forget(batch)

    def _forget(self, batch: Batch) -> None:
        log.warning("execution_forgotten", execution=batch.execution, next="the same is sent again")
        self._report(Forgotten(batch))

    def _note_failure(self, followed: Followed, error: DeliveryError) -> None:
        """Keep following: a poll that fails says nothing about the execution."""
        now_s = _now_s()
        followed.blind_since_s = now_s if followed.blind_since_s is None else followed.blind_since_s
        # Others were out when the first of them failed, and tell nothing new.
        if not self._polls.is_paused(now_s):
            self._pause(error)
        # What is past its age may have ended while no process followed it, and badly: the first try may fail.
        if self._clock() >= followed.batch.expires_ms and now_s - followed.blind_since_s >= BLIND_S:
            self._settle_unseen(followed.batch, error)
        else:
            self._again(followed)

    def _pause(self, error: DeliveryError) -> None:
        self._failures += 1
        retry_after_s = error.retry_after_s if isinstance(error, TemporaryFailure) else None
        pause_s = backoff_s(self._failures, retry_after_s, cap_s=_PAUSE_CAP_S)
        self._polls.pause(_now_s() + pause_s)
        if self._failures >= _FAILURES_TO_SAY or not isinstance(error, TemporaryFailure):
            self._trouble = f"cannot ask after executions: {error}"
            log.warning("polls_fail", failures=self._failures, reason=str(error), retry_s=round(pause_s, 1))

    def _settle_unseen(self, batch: Batch, error: DeliveryError) -> None:
        log.warning("execution_end_unseen", execution=batch.execution, reason=str(error))
        self._deliver(batch)

    def _end(self, batch: Batch, execution: Execution) -> None:
        posts = self._posts.setdefault(batch.destination, Posts(batch.destination))
        if execution.status == SUCCEEDED:
            posts.succeed()
            self._deliver(batch)
            return
        end = posts.fail(execution, events=len(batch.event_ids), can_bury=self._can_bury())
        if end.split:
            log.warning("batch_split", **_describe(batch), reason=end.reason)
            self._report(Refused(batch, end.reason, split=True))
        elif end.rest_s is not None:
            log.error("posts_paused", **_describe(batch), reason=end.reason, retry_s=end.rest_s)
            self._report(Deferred(batch, end.rest_s))
        else:
            self._bury(batch, end.reason)

    def _deliver(self, batch: Batch) -> None:
        arn, attempts, _ = _acceptance(batch)
        self.delivered += len(batch.event_ids)
        self._report(Delivered(batch, arn, attempts))
        log.info("batch_delivered", **_describe(batch), attempts=attempts)

    def _bury(self, batch: Batch, reason: str) -> None:
        self._report(Refused(batch, reason))
        for event_id in batch.event_ids:
            log.error("event_dead_lettered", execution=batch.execution, event_id=event_id, reason=reason)


def _acceptance(batch: Batch) -> Acceptance:
    if batch.accepted is None:
        raise ValueError(f"{batch.execution} was not accepted")
    return batch.accepted


def _describe(batch: Batch) -> dict[str, Any]:
    """Return what a log line says of *batch*."""
    return {
        "execution": batch.execution,
        "workflow": batch.lane.workflow,
        "guild_id": batch.lane.guild_id,
        "destination": batch.destination,
        "events": len(batch.event_ids),
    }


def _now_s() -> float:
    return asyncio.get_running_loop().time()
