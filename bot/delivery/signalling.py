"""Signals to executions that earlier events started: what is sent, and what the answer means.

    signalled, already decided, not allowed   settled: a receipt says so
    not waiting, and started a moment ago     sent again: the execution may not have come to its wait yet
    not waiting, and started before that      settled: it has ended, or waits for nothing
    no execution is known                     settled at once, and nothing is sent

A signal that is sent twice, because its answer was lost, goes on once: the second is already decided.
"""

from collections.abc import Awaitable, Mapping
from typing import Any, Final, NamedTuple, Protocol

import orjson

from bot.api.signals import RELAY, Answer, Outcome, Sender
from bot.clock import Clock, format_ms, system_clock
from bot.errors import TemporaryFailure
from bot.outbox.batch import Batch, Signal

PATIENCE_MS: Final = 120_000
"""How long after its start an execution may take to come to its wait; the lane waits as long."""

_UNKNOWN: Final = (
    "not sent: no execution was started for it, or that is longer ago than receipts are kept, or another one "
    "has been started since"
)


class Send(Protocol):
    """Sends a signal through the API; see ``bot.api.signals``."""

    def __call__(
        self, name: str, signal: str, *, by: Sender, data: Mapping[str, Any]
    ) -> Awaitable[Answer]: ...


class NotWaiting(TemporaryFailure):
    """The API did its work, but the execution does not wait for signals yet."""


class Settled(NamedTuple):
    """What became of a signal; ``ended``: its execution takes no other either."""

    outcome: str
    ended: bool = False


async def send_signal(send: Send, batch: Batch, signal: Signal, clock: Clock = system_clock) -> Settled:
    """Send the *signal* of *batch*, and return what became of it; raises a DeliveryError."""
    if signal.execution is None:
        return Settled(_UNKNOWN)
    answer = await send(signal.execution, signal.name, by=RELAY, data=orjson.loads(batch.body))
    if answer.outcome is not Outcome.NOT_WAITING:
        return Settled(_describe(answer))
    # A clock that was set back must not make it wait for longer.
    if 0 <= clock() - signal.accepted_ms < PATIENCE_MS:
        raise NotWaiting(f"the execution {signal.execution} does not wait yet", code="NotWaiting")
    return Settled("not waiting: the execution has ended, or waits for no signal", ended=True)


def _describe(answer: Answer) -> str:
    if answer.outcome is Outcome.SIGNALLED:
        return "signalled"
    if answer.outcome is Outcome.NOT_ALLOWED:
        return "not allowed: the execution does not take this signal from the relay"
    by = answer.by
    who = "" if by is None else f" by the {by.kind}" + (f" {by.id}" if by.id else "")
    when = "" if answer.at_ms is None else f" at {format_ms(answer.at_ms)}"
    return f"already decided: {answer.signal}{who}{when}"
