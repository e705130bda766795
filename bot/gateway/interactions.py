"""Presses of buttons: heard at once, passed on as a signal, answered to the one who pressed.

    INTERACTION_CREATE ──▶ defer (within 3 s) ──▶ signal ──▶ answer, one sentence
                               │ too late: no effect             (within 15 min)

Nothing here is on the way of a frame: ``take`` starts a task and returns. What is not acknowledged has no
effect, because Discord tells the presser that it failed. After a RESUME a press may come again: Discord says
then that it is acknowledged, so it goes on; in one process it is taken once.

Who may decide is decided by the waiting execution, in AWS. The message with the button is the workflow's.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

import structlog

from bot.api.signals import Answer, Outcome, Sender
from bot.backoff import backoff_s
from bot.errors import DeliveryError, TemporaryFailure
from bot.gateway.interaction_rest import Heard, InteractionRest
from bot.gateway.press import (
    REFUSED,
    STOPPING,
    UNDERWAY,
    UNREACHABLE,
    NotAPress,
    Press,
    describe,
    parse_press,
)
from bot.gateway.rest import RestError
from bot.voice.payloads import Payload

AT_ONCE: Final = 100
"""So many presses are handled at once; more are not acknowledged, which Discord shows as a failure."""
TRIED_S: Final = 60.0
"""How long an API that cannot be reached is tried."""
WAITED_FOR_S: Final = (0.5, 1.0, 2.0)
"""Pauses before asking again: a card may be shown just before its execution waits."""

_NO_ROUTE: Final = 404
"""The stack is older than this voice-relay."""
_UNREACHABLE: Final = ("unreachable", UNREACHABLE)
_REFUSED: Final = ("refused", REFUSED)
_RECENT: Final = 1000
_LAST_WORD_S: Final = 2.0

log = structlog.get_logger(__name__)


class Send(Protocol):
    """Sends a signal to an execution; raises a DeliveryError."""

    def __call__(
        self, name: str, signal: str, *, by: Sender, data: Mapping[str, object]
    ) -> Awaitable[Answer]: ...


class Interactions:
    """Takes the gateway's interactions. ``presses`` and ``failures`` count since the start."""

    def __init__(
        self,
        rest: InteractionRest,
        send: Send,
        create_task: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._rest = rest
        self._send = send
        self._create_task = create_task
        self._tasks: set[asyncio.Task[None]] = set()
        self._underway: set[tuple[str | None, str]] = set()
        self._recent: OrderedDict[str, None] = OrderedDict()
        self.presses = 0
        self.failures = 0

    @property
    def in_flight(self) -> int:
        return len(self._tasks)

    def take(self, payload: Payload) -> None:
        """Take an INTERACTION_CREATE."""
        try:
            press = parse_press(payload)
        except NotAPress as reason:
            log.debug("interaction_skipped", reason=str(reason))
            return
        if press.id in self._recent:
            return
        self.presses += 1
        if len(self._tasks) >= AT_ONCE:
            self.failures += 1
            log.warning("press_dropped", interaction_id=press.id, in_flight=len(self._tasks))
            return
        self._recent[press.id] = None
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
        task = self._create_task(self._handle(press))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, grace_s: float) -> None:
        """Finish what is in flight; towards the end of *grace_s*, tell the pressers to press again."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=max(0.0, grace_s - _LAST_WORD_S))
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _handle(self, press: Press) -> None:
        began_s = _now_s()
        fields = {
            "interaction_id": press.id,
            "execution": press.execution,
            "signal": press.signal,
            "user_id": press.sender.id,
        }
        failed = True
        try:
            heard = await self._rest.defer(press)
            if heard is Heard.TOO_LATE:
                log.warning("press_too_late", **fields, next="no effect")
                return
            outcome, text = await self._decide(press)
            await self._rest.answer(press, text)
            failed = (outcome, text) in (_UNREACHABLE, _REFUSED)
            took_s = round(_now_s() - began_s, 2)
            replayed = heard is Heard.BEFORE
            log.info("press_answered", **fields, outcome=outcome, replayed=replayed, took_s=took_s)
        except asyncio.CancelledError:
            await self._say_last(press)
            log.warning("press_given_up", **fields, reason="shutting down")
            raise
        except RestError as error:
            log.warning("press_not_answered", **fields, reason=str(error))
        except Exception:
            log.exception("press_failed", **fields)
            await self._say(press, REFUSED)
        finally:
            self.failures += failed

    async def _decide(self, press: Press) -> tuple[str, str]:
        """Return what came of the press, for the log and in a sentence."""
        key = (press.sender.id, press.execution)
        if key in self._underway:
            return "underway", UNDERWAY
        self._underway.add(key)
        try:
            answer = await self._signal(press)
        except DeliveryError as error:
            passes = isinstance(error, TemporaryFailure) and error.status != _NO_ROUTE
            write = log.warning if passes else log.error
            write("signal_failed", execution=press.execution, reason=str(error), code=error.code)
            return _UNREACHABLE if passes else _REFUSED
        finally:
            self._underway.discard(key)
        return answer.outcome.value, describe(answer, press)

    async def _signal(self, press: Press) -> Answer:
        """Send the signal, again while nothing waits yet or the API fails; raises a DeliveryError."""
        pauses = iter(WAITED_FOR_S)
        until_s = _now_s() + TRIED_S
        failures = 0
        while True:
            try:
                answer = await self._send(press.execution, press.signal, data=press.message, by=press.sender)
            except TemporaryFailure as error:
                pause_s = backoff_s(failures, error.retry_after_s)
                failures += 1
                if error.status == _NO_ROUTE or _now_s() + pause_s > until_s:
                    raise
            else:
                if answer.outcome is not Outcome.NOT_WAITING or (pause_s := next(pauses, -1.0)) < 0:
                    return answer
            await asyncio.sleep(pause_s)

    async def _say_last(self, press: Press) -> None:
        try:
            async with asyncio.timeout(_LAST_WORD_S):
                await self._say(press, STOPPING)
        except TimeoutError:
            log.debug("press_not_answered", interaction_id=press.id, reason="shutting down")

    async def _say(self, press: Press, text: str) -> None:
        try:
            await self._rest.answer(press, text)
        except RestError as error:
            log.warning("press_not_answered", interaction_id=press.id, reason=str(error))
        except Exception:
            log.exception("press_not_answered", interaction_id=press.id)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
