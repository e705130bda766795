"""A workflow's way into the API: its circuit breaker, its run of rejections, and its trouble.

What a response teaches is said here, for each workflow by itself, so that one that is not deployed stops no
other:

    accepted                          the run and the trouble end
    rejected, and the batch is split  the trouble ends: the API does its work
    rejected, and dead-lettered       the same, and the run grows by one
    the same, REJECTIONS_TO_PAUSE     counts as a failure, of the deployment: keep the batch and pause
    times in a row or more
    answered: not waiting yet         the same as accepted
    failed                            the breaker counts; the trouble is the reason, once it is open
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from bot.delivery.circuit_breaker import CircuitBreaker
from bot.delivery.signalling import NotWaiting
from bot.errors import DeliveryError, Rejected, TemporaryFailure

REJECTIONS_TO_PAUSE: Final = 5
"""Bad events are rare and stand alone; this many in a row without a success are not the events' fault."""


class Route:
    """What is known of the way to one *workflow*."""

    def __init__(self, workflow: str, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self.workflow = workflow
        self.breaker = CircuitBreaker(sleep=sleep)
        self.trouble: str | None = None
        """Why nothing gets through; ``None`` while something does, or nothing is on its way."""
        self._rejections = 0
        self._on_the_way = 0

    def enter(self, task: asyncio.Task[None]) -> None:
        """Note that a batch is on its way for as long as *task* runs; the trouble ends with the last."""
        self._on_the_way += 1
        task.add_done_callback(self._leave)

    def _leave(self, _: asyncio.Task[None]) -> None:
        self._on_the_way -= 1
        if not self._on_the_way:
            self.trouble = None

    def accept(self, *, probe: bool) -> None:
        """Note that the API accepted a batch."""
        self._rejections = 0
        self.trouble = None
        self.breaker.succeed(probe=probe)

    def believes(self, *, split: bool) -> bool:
        """Say whether to take a rejection at its word, which is to *split* the batch or to bury it."""
        if not split:
            self._rejections += 1
        return self._rejections < REJECTIONS_TO_PAUSE

    def reject(self, *, probe: bool) -> None:
        """Note that a rejection was taken at its word."""
        self.trouble = None
        self.breaker.succeed(probe=probe)

    def fail(self, error: DeliveryError, *, probe: bool) -> None:
        """Note that an attempt failed."""
        if isinstance(error, NotWaiting):
            self.accept(probe=probe)
            return
        self.breaker.fail(retry_after_s(error), probe=probe)
        if self.breaker.state != "closed" or not isinstance(error, TemporaryFailure):
            self.trouble = f"{self.workflow}: {self.explain(error)}"

    def explain(self, error: DeliveryError) -> str:
        """Return the error's message, with what a run of rejections means."""
        if not isinstance(error, Rejected):
            return str(error)
        if self._rejections < REJECTIONS_TO_PAUSE:
            return f"{error}; the dead letters are full: redrive or drop some with `voice-relay outbox`"
        return (
            f"{error}; it rejected {self._rejections} times in a row and accepted nothing in between, which "
            "the deployment must be at fault for: check the workflow. Nothing more goes to the dead letters"
        )


def retry_after_s(error: DeliveryError) -> float | None:
    return error.retry_after_s if isinstance(error, TemporaryFailure) else None


def outcome_unknown(error: DeliveryError) -> bool:
    """Tell whether the attempt may have been accepted all the same."""
    return isinstance(error, TemporaryFailure) and error.outcome_unknown
