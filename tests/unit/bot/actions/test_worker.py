"""The activity's worker, against an AWS of this process and a clock that jumps."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from bot.actions.refusal import ActionError
from bot.actions.worker import AT_ONCE, BEAT_S, POLLS, Perform, Worker
from bot.api.activities import ActivityTask
from bot.errors import DeliveryError, Rejected, TemporaryFailure, Unauthorized
from tests.support.virtual_time import run_virtually

POLL_S = 60.0
GONE = Rejected("the API answered 400 TaskTimedOut", status=400, code="TaskTimedOut")
TOO_LONG = Rejected("the API answered 400 InvalidOutput", status=400, code="InvalidOutput")
DOWN = TemporaryFailure("the API answered 503", status=503)
REFUSED = Unauthorized("the API answered 400 AccessDeniedException", status=400)


class Aws:
    """An activity: polls wait for tasks, and reports are kept. Scripted errors come first, one a call."""

    def __init__(self) -> None:
        self.tasks: asyncio.Queue[ActivityTask] = asyncio.Queue()
        self.reports: list[tuple[Any, ...]] = []
        self.beats: list[tuple[str, float]] = []
        self.polls_began_s: list[float] = []
        self.polling = 0
        self.poll_errors: deque[Exception] = deque()
        self.report_errors: deque[Exception] = deque()
        self.beat_errors: deque[Exception] = deque()
        self.empty_s = POLL_S

    def hand_out(self, *names: str) -> None:
        for name in names:
            self.tasks.put_nowait(ActivityTask(f"token of {name}", name))

    async def poll(self) -> ActivityTask | None:
        self.polls_began_s.append(_now_s())
        self.polling += 1
        try:
            if self.poll_errors:
                raise self.poll_errors.popleft()
            async with asyncio.timeout(self.empty_s):
                return await self.tasks.get()
        except TimeoutError:
            return None
        finally:
            self.polling -= 1

    async def succeed(self, token: str, output: dict[str, Any]) -> None:
        self._report(token, output)

    async def fail(self, token: str, error: str, cause: str) -> None:
        self._report(token, error, cause)

    async def heartbeat(self, token: str) -> None:
        self.beats.append((token, _now_s()))
        if self.beat_errors:
            raise self.beat_errors.popleft()

    def _report(self, *report: Any) -> None:
        if self.report_errors:
            raise self.report_errors.popleft()
        self.reports.append(report)


async def _do(text: str) -> dict[str, Any]:
    return {"did": text}


def _work(
    story: Callable[[Worker, Aws], Awaitable[None]], perform: Perform = _do, aws: Aws | None = None
) -> Worker:
    """Play *story* with a worker that takes tasks, and return it."""

    async def main() -> Worker:
        there = aws or Aws()
        async with asyncio.TaskGroup() as tasks:
            worker = Worker(cast("Any", there), perform, tasks.create_task)
            worker.start()
            await story(worker, there)
            await worker.close(0.0)
        return worker

    return run_virtually(main())


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def test_reports_output() -> None:
    async def story(worker: Worker, aws: Aws) -> None:
        aws.hand_out("one", "two")
        await asyncio.sleep(1)
        assert aws.reports == [("token of one", {"did": "one"}), ("token of two", {"did": "two"})]
        assert aws.polling == POLLS
        assert (aws.beats, worker.trouble) == ([], None)

    worker = _work(story)
    assert (worker.done, worker.refused) == (2, 0)


def test_reports_refusal_by_name() -> None:
    async def refuse(_: str) -> dict[str, Any]:
        raise ActionError("Discord.NotInVoice", "not connected")

    async def story(worker: Worker, aws: Aws) -> None:
        aws.hand_out("one")
        await asyncio.sleep(1)
        assert aws.reports == [("token of one", "Discord.NotInVoice", "not connected")]

    worker = _work(story, refuse)
    assert (worker.done, worker.refused) == (0, 1)


def test_output_that_aws_refuses_is_a_failure() -> None:
    """Without a report the task would be handed out again and again, to the same end."""

    async def story(worker: Worker, aws: Aws) -> None:
        aws.report_errors.append(TOO_LONG)
        aws.hand_out("one")
        await asyncio.sleep(1)
        cause = "it was done, but AWS does not take its output: the API answered 400 InvalidOutput"
        assert aws.reports == [("token of one", "Action.Failed", cause)]

    _work(story)


def test_polls_again_after_an_empty_minute() -> None:
    async def story(worker: Worker, aws: Aws) -> None:
        await asyncio.sleep(POLL_S * 2.5)
        assert aws.polls_began_s == [0.0] * POLLS + [POLL_S] * POLLS + [POLL_S * 2] * POLLS

    _work(story)


def test_poll_that_gets_no_answer_is_not_held() -> None:
    """A proxy that swallows the answers holds polls too, and no task comes through it."""
    aws = Aws()

    async def time_out() -> None:
        await asyncio.sleep(65)
        raise TemporaryFailure("the API did not answer in time", code="Timeout", outcome_unknown=True)

    aws.poll = time_out  # type: ignore[method-assign]

    async def story(worker: Worker, aws: Aws) -> None:
        await asyncio.sleep(65 * 4)
        for _ in range(100):
            await asyncio.sleep(1)
            assert worker.trouble == "cannot take actions from AWS: the API did not answer in time"

    _work(story, aws=aws)


def test_empty_answers_make_no_tight_loop() -> None:
    aws = Aws()
    aws.empty_s = 0.0

    async def story(worker: Worker, aws: Aws) -> None:
        await asyncio.sleep(10)
        assert len(aws.polls_began_s) <= POLLS * 11

    _work(story, aws=aws)


def test_takes_a_bounded_number() -> None:
    """What is too much waits in AWS, where another worker may take it."""
    going: list[str] = []

    async def take_long(text: str) -> dict[str, Any]:
        going.append(text)
        await asyncio.sleep(100)
        return {}

    async def story(worker: Worker, aws: Aws) -> None:
        aws.hand_out(*(f"{number}" for number in range(50)))
        await asyncio.sleep(1)
        assert len(going) == worker.running == AT_ONCE
        assert (aws.polling, aws.tasks.qsize()) == (0, 50 - AT_ONCE)
        await asyncio.sleep(100)
        assert len(going) == 2 * AT_ONCE

    _work(story, take_long)


def test_sends_heartbeats_while_it_works() -> None:
    async def take_long(_: str) -> dict[str, Any]:
        await asyncio.sleep(BEAT_S * 3.5)
        return {}

    async def story(worker: Worker, aws: Aws) -> None:
        aws.beat_errors.append(DOWN)
        aws.hand_out("one")
        await asyncio.sleep(100)
        assert aws.beats == [("token of one", BEAT_S * number) for number in (1, 2, 3)]
        assert aws.reports == [("token of one", {})]

    _work(story, take_long)


def test_abandons_what_is_not_awaited() -> None:
    """Another worker may have the task by now: both must not act."""
    acted = []

    async def take_long(text: str) -> dict[str, Any]:
        await asyncio.sleep(BEAT_S * 3)
        acted.append(text)
        return {}

    async def story(worker: Worker, aws: Aws) -> None:
        aws.beat_errors.append(GONE)
        aws.hand_out("one")
        await asyncio.sleep(100)
        assert (acted, aws.reports, worker.running) == ([], [], 0)
        aws.hand_out("two")
        await asyncio.sleep(100)
        assert acted == ["two"]

    _work(story, take_long)


def test_repeats_report_until_it_gets_through() -> None:
    async def story(worker: Worker, aws: Aws) -> None:
        aws.report_errors += [DOWN, REFUSED]
        aws.hand_out("one")
        await asyncio.sleep(30)
        assert aws.reports == [("token of one", {"did": "one"})]

    _work(story)


@pytest.mark.parametrize("errors", [[GONE], [TOO_LONG, TOO_LONG]])
def test_gives_up_report_that_is_rejected(errors: list[DeliveryError]) -> None:
    async def story(worker: Worker, aws: Aws) -> None:
        aws.report_errors += errors
        aws.hand_out("one")
        await asyncio.sleep(1)
        assert (aws.reports, worker.running) == ([], 0)

    _work(story)


def test_gives_up_report_after_a_minute() -> None:
    """The heartbeats end with it, and the task times out and is handed out again."""

    async def story(worker: Worker, aws: Aws) -> None:
        aws.report_errors += [DOWN] * 1000
        aws.hand_out("one")
        await asyncio.sleep(61)
        assert worker.running == 0
        beats = len(aws.beats)
        await asyncio.sleep(100)
        assert len(aws.beats) == beats

    _work(story)


def test_survives_a_fault_in_an_action() -> None:
    async def break_down(_: str) -> dict[str, Any]:
        raise ZeroDivisionError

    async def story(worker: Worker, aws: Aws) -> None:
        aws.hand_out("one")
        await asyncio.sleep(1)
        assert (worker.running, aws.polling) == (0, POLLS)

    _work(story, break_down)


def test_backs_off_while_polls_fail() -> None:
    async def story(worker: Worker, aws: Aws) -> None:
        aws.poll_errors += [DOWN] * 1000
        await asyncio.sleep(600)
        assert len(aws.polls_began_s) < 60 * POLLS
        assert worker.trouble == "cannot take actions from AWS: the API answered 503"
        aws.poll_errors.clear()
        await asyncio.sleep(80)
        recovered: tuple[str | None, int] = (worker.trouble, aws.polling)
        assert recovered == (None, POLLS)

    _work(story)


def test_says_at_once_what_waiting_does_not_mend() -> None:
    async def story(worker: Worker, aws: Aws) -> None:
        aws.poll_errors.append(REFUSED)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert worker.trouble == "cannot take actions from AWS: the API answered 400 AccessDeniedException"

    _work(story)


def test_survives_a_fault_in_a_poll() -> None:
    async def story(worker: Worker, aws: Aws) -> None:
        aws.poll_errors.append(ZeroDivisionError())
        aws.hand_out("one")
        await asyncio.sleep(POLL_S)
        assert aws.reports == [("token of one", {"did": "one"})]

    _work(story)


def _close_while_working(grace_s: float) -> tuple[Aws, float]:
    """Close a worker whose action has ten seconds left; return its AWS and how long the close took."""

    async def take_long(_: str) -> dict[str, Any]:
        await asyncio.sleep(20)
        return {}

    aws = Aws()
    took_s = 0.0

    async def story(worker: Worker, aws: Aws) -> None:
        nonlocal took_s
        aws.hand_out("one")
        await asyncio.sleep(10)
        began_s = _now_s()
        worker.stop()
        aws.hand_out("two")
        await worker.close(grace_s)
        took_s = _now_s() - began_s

    _work(story, take_long, aws)
    return aws, took_s


def test_close_waits_for_what_runs() -> None:
    aws, took_s = _close_while_working(grace_s=30)

    assert aws.reports == [("token of one", {})]
    assert took_s == 10
    # It was handed out after the stop, and stays for another worker.
    assert aws.tasks.qsize() == 1


def test_close_leaves_what_takes_longer() -> None:
    aws, took_s = _close_while_working(grace_s=5)

    assert (aws.reports, took_s) == ([], 5)


def test_idle_close_takes_no_time() -> None:
    async def story(worker: Worker, aws: Aws) -> None:
        await asyncio.sleep(10)
        await worker.close(30)
        assert (_now_s(), aws.polling) == (10, 0)

    _work(story)
