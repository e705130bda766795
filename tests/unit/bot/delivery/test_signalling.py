"""Signals are sent like starts: again while they may get through, and settled by what the API answers."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from bot.api.signals import RELAY, Answer, Decider, Outcome, Sender
from bot.delivery.dispatcher import Dispatcher
from bot.delivery.signalling import PATIENCE_MS
from bot.errors import DeliveryError, Rejected, TemporaryFailure, Unauthorized
from bot.outbox.batch import Batch, Delivered, Failed, Refused, Report, Signal
from bot.routing.lane import Lane

ACCEPTED_MS = 1_763_708_400_000
START = "1-START"


def signal(execution: str | None = START, **fields: Any) -> Batch:
    carried = Signal("withdraw", execution, ACCEPTED_MS if execution else 0)
    return Batch(
        1, Lane("admit", "1"), "1-B", b'{"event":{"id":"e"}}', ("e",), ACCEPTED_MS, signal=carried, **fields
    )


class World:
    """An API that answers signals with *answers* in turn; ``now_ms`` goes on with every wait."""

    def __init__(self, *answers: Answer | DeliveryError) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, Sender, Mapping[str, Any]]] = []
        self.waits: list[float] = []
        self.reports: list[Report] = []
        self.now_ms = ACCEPTED_MS
        self.dispatcher: Dispatcher

    async def start(self, workflow: str, name: str, body: bytes) -> str:
        raise AssertionError("a signal starts nothing")

    async def signal(self, name: str, signal: str, *, by: Sender, data: Mapping[str, Any]) -> Answer:
        self.asked.append((name, signal, by, data))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, DeliveryError):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now_ms += 1 + round(seconds * 1000)
        await asyncio.sleep(0)

    async def run(self, *batches: Batch) -> list[Report]:
        async with asyncio.TaskGroup() as tasks:
            self.dispatcher = Dispatcher(
                self.start,
                self.reports.append,
                tasks.create_task,
                signal=self.signal,
                clock=lambda: self.now_ms,
                sleep=self.sleep,
            )
            self.dispatcher.deliver(batches)
        return self.reports


async def test_sends_event_as_the_relay() -> None:
    world = World(Answer(Outcome.SIGNALLED))
    sent = signal()
    assert await world.run(sent) == [Delivered(sent, "", 1, "signalled")]
    assert world.asked == [(START, "withdraw", RELAY, {"event": {"id": "e"}})]
    assert world.dispatcher.delivered == 1


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (
            Answer(Outcome.ALREADY_DECIDED, "admit", Decider("user", "80"), ACCEPTED_MS),
            "already decided: admit by the user 80 at 2025-11-21T07:00:00.000Z",
        ),
        (
            Answer(Outcome.ALREADY_DECIDED, "withdraw", Decider("relay")),
            "already decided: withdraw by the relay",
        ),
        (
            Answer(Outcome.NOT_ALLOWED),
            "not allowed: the execution does not take this signal from the relay",
        ),
    ],
)
async def test_settles_with_what_was_answered(answer: Answer, outcome: str) -> None:
    sent = signal()
    assert await World(answer).run(sent) == [Delivered(sent, "", 1, outcome)]


async def test_unknown_execution_is_not_asked() -> None:
    world = World(Answer(Outcome.SIGNALLED))
    (report,) = await world.run(signal(None))
    assert isinstance(report, Delivered)
    assert report.outcome is not None
    assert report.outcome.startswith("not sent: no execution was started for it")
    assert world.asked == []


async def test_waits_until_execution_waits() -> None:
    world = World(Answer(Outcome.NOT_WAITING), Answer(Outcome.NOT_WAITING), Answer(Outcome.SIGNALLED))
    sent = signal()
    reports = await world.run(sent)
    reason = f"the execution {START} does not wait yet"
    assert reports == [Failed(sent, 1, reason), Failed(sent, 2, reason), Delivered(sent, "", 3, "signalled")]


async def test_patience_ends() -> None:
    """The lane goes on, and the receipt says so; the waits are short until then."""
    world = World(Answer(Outcome.NOT_WAITING))
    *failed, last = await world.run(signal())
    assert all(isinstance(report, Failed) for report in failed)
    assert isinstance(last, Delivered)
    assert (last.outcome, last.ended) == (
        "not waiting: the execution has ended, or waits for no signal",
        True,
    )
    assert world.now_ms >= ACCEPTED_MS + PATIENCE_MS
    assert world.now_ms - round(world.waits[-1] * 1000) - 1 < ACCEPTED_MS + PATIENCE_MS
    assert max(world.waits) <= 5


@pytest.mark.parametrize("off_ms", [PATIENCE_MS, -1])
async def test_older_execution_is_asked_once(off_ms: int) -> None:
    """Likewise one from the future, where the clock was set back."""
    world = World(Answer(Outcome.NOT_WAITING))
    world.now_ms = ACCEPTED_MS + off_ms
    (report,) = await world.run(signal())
    assert isinstance(report, Delivered)
    assert report.ended
    assert len(world.asked) == 1


@pytest.mark.parametrize("error", [TemporaryFailure("down", status=503), Unauthorized("refused", status=403)])
async def test_failure_is_tried_again(error: DeliveryError) -> None:
    world = World(error, error, Answer(Outcome.SIGNALLED))
    sent = signal()
    assert await world.run(sent) == [
        Failed(sent, 1, str(error)),
        Failed(sent, 2, str(error)),
        Delivered(sent, "", 3, "signalled"),
    ]
    assert len({repr(asked) for asked in world.asked}) == 1


async def test_rejection_is_a_dead_letter() -> None:
    """A lost answer before it makes no difference: a signal does not arrive twice."""
    sent = signal()
    world = World(TemporaryFailure("lost", outcome_unknown=True), Rejected("never", status=400))
    assert (await world.run(sent))[-1] == Refused(sent, "never")


async def test_trouble_names_the_signals() -> None:
    """Starts of the same workflow go another way."""
    world = World(Unauthorized("no permission"), Answer(Outcome.SIGNALLED))
    seen: list[str | None] = []
    world.sleep = _and(world.sleep, lambda: seen.append(world.dispatcher.trouble))  # type: ignore[method-assign]
    await world.run(signal())
    assert seen == ["signal: no permission"]
    assert world.dispatcher.trouble is None


def _and(sleep: Any, note: Any) -> Any:
    async def noted(seconds: float) -> None:
        note()
        await sleep(seconds)

    return noted


async def test_waiting_does_not_open_the_breaker() -> None:
    """The API does its work."""
    world = World(*[Answer(Outcome.NOT_WAITING)] * 30, Answer(Outcome.SIGNALLED))
    seen: set[str | None] = set()
    world.sleep = _and(world.sleep, lambda: seen.add(world.dispatcher.trouble))  # type: ignore[method-assign]
    await world.run(signal())
    assert seen == {None}
