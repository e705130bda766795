"""Every batch is sent until the API has taken it or has said that it never will."""

import asyncio
import dataclasses
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from unittest.mock import patch

import pytest
import structlog

from bot.backoff import BASE_S, CAP_S, backoff_s
from bot.delivery.circuit_breaker import FAILURES_TO_OPEN
from bot.delivery.dispatcher import Dispatcher
from bot.delivery.route import REJECTIONS_TO_PAUSE
from bot.errors import DeliveryError, Rejected, TemporaryFailure, Unauthorized
from bot.outbox.batch import Batch, Delivered, Failed, Refused, Report
from bot.routing.lane import Lane
from tests.support.no_signal import no_signal

Outcome = str | DeliveryError


def batch(name: str, *event_ids: str) -> Batch:
    return Batch(1, Lane("notify", "1"), name, b"{}", event_ids or ("e",), 0)


async def until(condition: Callable[[], bool], turns: int = 100) -> None:
    """Let the loop go round until *condition* holds."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


class Api:
    """Answers with *outcomes* in turn, and keeps what it was asked."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.asked: list[tuple[str, str, bytes]] = []

    async def start(self, workflow: str, name: str, body: bytes) -> str:
        self.asked.append((workflow, name, body))
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, DeliveryError):
            raise outcome
        return outcome


@asynccontextmanager
async def dispatching(
    start: Callable[..., object], settled: list[Report], waits: list[float]
) -> AsyncIterator[Dispatcher]:
    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        yield Dispatcher(start, settled.append, tasks.create_task, signal=no_signal, sleep=sleep)  # type: ignore[arg-type]


async def run(api: Api, *batches: Batch) -> tuple[list[Report], list[float]]:
    settled: list[Report] = []
    waits: list[float] = []
    async with dispatching(api.start, settled, waits) as dispatcher:
        for one in batches:
            dispatcher.deliver([one])
    return settled, waits


@pytest.fixture
def informed(_quiet_logs: None) -> None:
    """Log from info on."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))


async def test_reports_accepted_execution() -> None:
    sent = batch("x")
    assert await run(Api("arn:1"), sent) == ([Delivered(sent, "arn:1", 1)], [])


@pytest.mark.usefixtures("informed")
async def test_logs_accepted_batches_together() -> None:
    """A moment later, each with its own time."""
    times = iter([1_763_708_400_000, 1_763_708_400_020])
    waits: list[float] = []
    loop = asyncio.get_running_loop()
    with structlog.testing.capture_logs() as logs, patch.object(loop, "call_later") as call_later:
        async with asyncio.TaskGroup() as tasks:
            api = Api("arn:1", "arn:2")
            dispatcher = Dispatcher(
                api.start,
                waits.append,  # type: ignore[arg-type]
                tasks.create_task,
                signal=no_signal,
                clock=lambda: next(times),
            )
            dispatcher.deliver([batch("x"), batch("y")])
        assert logs == []
        (((_, write), _),) = call_later.call_args_list
        write()
        assert [(line["execution"], line["timestamp"]) for line in logs] == [
            ("x", "2025-11-21T07:00:00.000Z"),
            ("y", "2025-11-21T07:00:00.020Z"),
        ]


@pytest.mark.usefixtures("informed")
async def test_logs_accepted_batches_on_close() -> None:
    with structlog.testing.capture_logs() as logs:
        async with dispatching(Api("arn:1").start, [], []) as dispatcher:
            dispatcher.deliver([batch("x")])
            await until(lambda: not dispatcher.in_flight)
            await dispatcher.close(1)
    assert [line["event"] for line in logs] == ["batch_delivered"]


@pytest.mark.parametrize("error", [TemporaryFailure("down", status=503), Unauthorized("refused", status=403)])
async def test_retries_same_batch(error: DeliveryError) -> None:
    api = Api(error, error, error, "arn:1")
    sent = batch("x")
    reports, waits = await run(api, sent)
    assert reports == [*(Failed(sent, n, str(error)) for n in (1, 2, 3)), Delivered(sent, "arn:1", 4)]
    assert api.asked == [("notify", sent.execution, sent.body)] * 4
    assert len(waits) == 3


async def test_waits_out_retry_after() -> None:
    _, waits = await run(Api(TemporaryFailure("slow down", retry_after_s=30), "arn"), batch("x"))
    assert 30 <= waits[0] <= 30 + BASE_S * 2


async def test_reports_refusal_at_once() -> None:
    sent = batch("x", "a", "b")
    assert await run(Api(Rejected("never", status=400)), sent) == ([Refused(sent, "never", split=True)], [])


async def test_shows_trouble_until_success() -> None:
    settled: list[Report] = []
    waits: list[float] = []
    api = Api(Unauthorized("no such key"), "arn:1")
    async with dispatching(api.start, settled, waits) as dispatcher:
        dispatcher.deliver([batch("x")])
        await until(lambda: bool(waits))
        assert dispatcher.trouble == "notify: no such key"
    assert dispatcher.trouble is None


async def test_trouble_is_of_one_workflow() -> None:
    """What another workflow delivers does not end it; a rejection that is taken at its word does."""
    waits: list[float] = []
    api = Api(Unauthorized("no such key"), "arn:1", Rejected("never"))
    async with asyncio.TaskGroup() as tasks:
        again = asyncio.Event()

        async def sleep(seconds: float) -> None:
            waits.append(seconds)
            await again.wait()

        dispatcher = Dispatcher(api.start, lambda _: None, tasks.create_task, signal=no_signal, sleep=sleep)
        dispatcher.deliver([dataclasses.replace(batch("x", "a", "b"), lane=Lane("digest", "1"))])
        await until(lambda: bool(waits))
        dispatcher.deliver([batch("y")])
        await until(lambda: dispatcher.delivered == 1)
        assert dispatcher.trouble == "digest: no such key"
        again.set()
        await until(lambda: dispatcher.in_flight == 0)
        assert dispatcher.trouble is None


@pytest.mark.parametrize("error", [ValueError("Newline in headers: secret"), RuntimeError(), KeyError("x")])
async def test_exception_ends_attempt_alone(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """It is reported by its kind, because its text may quote a header."""
    asked = 0

    async def start(*_: object) -> str:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise error
        return "arn"

    settled: list[Report] = []
    sent = batch("x")
    async with dispatching(start, settled, []) as dispatcher:
        dispatcher.deliver([sent])
    kind = type(error).__name__
    assert settled == [
        Failed(sent, 1, f"the attempt failed unexpectedly ({kind})"),
        Delivered(sent, "arn", 2),
    ]


UNKNOWN = TemporaryFailure("the API did not answer in time", code="Timeout", outcome_unknown=True)


async def test_keeps_together_after_unknown_outcome() -> None:
    sent = batch("x", "a", "b")
    known = TemporaryFailure("the API answered 429", status=429)
    reports, _ = await run(Api(known, Rejected("never")), sent)
    assert reports[-1] == Refused(sent, "never", split=True)
    reports, _ = await run(Api(UNKNOWN, known, Rejected("never")), sent)
    reason = "never; an earlier attempt had no answer, so look for the execution x before a redrive"
    assert reports[-1] == Refused(sent, reason, split=False)


async def test_keeps_batch_of_earlier_process_together() -> None:
    """That process may have sent it."""
    sent = dataclasses.replace(batch("x", "a", "b"), sent_before=True)
    (report,), _ = await run(Api(Rejected("never")), sent)
    assert isinstance(report, Refused)
    assert not report.split


async def test_run_of_rejections_pauses() -> None:
    """The deployment must be at fault: nothing more is buried, nothing is split, and the trouble is said."""
    reports: list[Report] = []
    rejecting = True

    async def start(_workflow: str, _name: str, _body: bytes) -> str:
        if rejecting:
            raise Rejected("the API answered 400 InvalidExecutionInput", status=400)
        return "arn"

    async with asyncio.TaskGroup() as tasks:
        dispatcher = Dispatcher(
            start, reports.append, tasks.create_task, signal=no_signal, sleep=lambda _: asyncio.sleep(0)
        )
        dispatcher.deliver(batch(f"x{number}") for number in range(20))
        dispatcher.deliver([batch("many", "a", "b")])
        await until(lambda: sum(isinstance(report, Failed) for report in reports) > 30)
        assert dispatcher.in_flight == 21 - (REJECTIONS_TO_PAUSE - 1)
        assert "notify: the API answered 400" in str(dispatcher.trouble)
        assert "check the workflow" in str(dispatcher.trouble)
        rejecting = False
        await until(lambda: dispatcher.in_flight == 0, turns=1000)
    assert sum(isinstance(report, Refused) for report in reports) == REJECTIONS_TO_PAUSE - 1
    assert sum(isinstance(report, Delivered) for report in reports) == 21 - (REJECTIONS_TO_PAUSE - 1)
    assert dispatcher.trouble is None


async def test_success_ends_run_of_rejections() -> None:
    never = Rejected("never")
    sent = [batch(f"x{number}") for number in range(10)]
    api = Api(never, never, never, never, "arn", never, never, never, never, "arn")
    reports, waits = await run(api, *sent)
    assert (sum(isinstance(report, Refused) for report in reports), waits) == (8, [])


@pytest.mark.parametrize("workflow", ["other", "notify"])
async def test_failing_batch_holds_up_none(workflow: str) -> None:
    """Be it a workflow that is not deployed, or something about the batch itself."""
    delivered: list[str] = []
    asked: Counter[str] = Counter()

    async def start(_workflow: str, name: str, _body: bytes) -> str:
        asked[name] += 1
        if name == "bad":
            raise TemporaryFailure("the API answered 404: Not Found", status=404)
        delivered.append(name)
        return "arn"

    reports: list[Report] = []
    async with asyncio.TaskGroup() as tasks:
        dispatcher = Dispatcher(
            start, reports.append, tasks.create_task, signal=no_signal, sleep=lambda _: asyncio.sleep(0)
        )
        bad = dataclasses.replace(batch("bad"), lane=Lane(workflow, "1"))
        dispatcher.deliver([bad])
        await until(lambda: asked["bad"] > FAILURES_TO_OPEN)
        for number in range(5):
            dispatcher.deliver([batch(f"good{number}")])
        await until(lambda: len(delivered) == 5, turns=1000)
        await dispatcher.close(0)
    assert asked["bad"] < 100


async def test_close_waits_for_requests_only() -> None:
    """What waits for its next attempt is given up at once."""
    home = asyncio.Event()
    settled: list[Report] = []

    async def start(_workflow: str, name: str, _body: bytes) -> str:
        if name == "waiting":
            raise TemporaryFailure("down")
        await home.wait()
        return "arn"

    async with asyncio.TaskGroup() as tasks:
        dispatcher = Dispatcher(start, settled.append, tasks.create_task, signal=no_signal)
        out, waiting = batch("out"), batch("waiting")
        dispatcher.deliver([waiting])
        dispatcher.deliver([out])
        await until(lambda: bool(dispatcher._idle))
        closing = tasks.create_task(dispatcher.close(60))
        await asyncio.sleep(0)
        dispatcher.deliver([batch("too late")])
        home.set()
        await closing
    assert settled == [Failed(waiting, 1, "down"), Delivered(out, "arn", 1)]
    assert dispatcher.in_flight == 0


async def test_close_gives_up_after_grace() -> None:
    settled: list[Report] = []

    async def start(*_: object) -> str:
        await asyncio.Event().wait()
        raise AssertionError

    async with asyncio.TaskGroup() as tasks:
        dispatcher = Dispatcher(start, settled.append, tasks.create_task, signal=no_signal)
        dispatcher.deliver([batch("x")])
        await asyncio.sleep(0)
        await dispatcher.close(0.01)
    assert settled == []


def test_backoff_has_cap_and_jitter() -> None:
    longest = [backoff_s(attempts, random=lambda: 1.0) for attempts in range(12)]
    assert longest[:4] == [BASE_S, BASE_S * 2, BASE_S * 4, BASE_S * 8]
    assert longest[-1] == CAP_S == backoff_s(10_000, random=lambda: 1.0)
    assert backoff_s(5, random=lambda: 0.0) == 0
    assert backoff_s(5, 9.0, random=lambda: 0.0) == 9


async def give_up(api: Api, sent: Batch, *, can_bury: Callable[[], bool] = lambda: True) -> list[Report]:
    """Deliver *sent* at the time 1000."""
    reports: list[Report] = []
    async with asyncio.TaskGroup() as tasks:
        Dispatcher(
            api.start,
            reports.append,
            tasks.create_task,
            signal=no_signal,
            can_bury=can_bury,
            clock=lambda: 1000,
            sleep=lambda _: asyncio.sleep(0),
        ).deliver([sent])
    return reports


async def test_batch_in_flight_ages_out() -> None:
    """Too old and failed once more, it goes to the dead letters whole; a success comes first."""
    down = TemporaryFailure("the API answered 404: Not Found", status=404)
    old = dataclasses.replace(batch("x", "a", "b"), expires_ms=1000)
    (report,) = await give_up(Api(down), old)
    assert isinstance(report, Refused)
    assert not report.split
    assert report.reason == f"expired: it was tried for longer than MAX_EVENT_AGE_S, at last: {down}"
    assert await give_up(Api("arn"), old) == [Delivered(old, "arn", 1)]
    young = dataclasses.replace(old, expires_ms=1001)
    assert await give_up(Api(down, "arn"), young) == [Failed(young, 1, str(down)), Delivered(young, "arn", 2)]


@pytest.mark.parametrize("error", [Rejected("never"), TemporaryFailure("down")])
async def test_full_dead_letters_keep_batch(error: DeliveryError) -> None:
    room = iter([False, False, True, True])
    sent = dataclasses.replace(batch("x"), expires_ms=1000)
    failed, last = await give_up(Api(error, error), sent, can_bury=lambda: next(room))
    assert isinstance(failed, Failed)
    assert isinstance(last, Refused)
