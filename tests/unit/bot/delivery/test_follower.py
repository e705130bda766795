"""Every accepted batch is followed to its end, whatever the polls say on the way."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

import pytest

from bot.api.execution_responses import NOT_FOUND, Execution
from bot.delivery.follower import BLIND_S, NEW_FOR_S, Follower
from bot.errors import DeliveryError, Rejected, TemporaryFailure, Unauthorized
from bot.outbox.batch import Acceptance, Batch, Deferred, Delivered, Forgotten, Refused, Report
from bot.routing.lane import Lane
from tests.support.virtual_time import run_virtually

UNKNOWN = Rejected("no such execution", code=NOT_FOUND)
AN_AGE_S = 48 * 3600.0
DOWN = TemporaryFailure("cannot reach the API")
Answer = str | Execution | Exception


def batch(number: int = 1, *, sent_before: bool = False, expires_ms: int = 2**62, events: int = 1) -> Batch:
    return Batch(
        number,
        Lane("notify", str(number)),
        f"{number}-x",
        b"",
        tuple(f"e{each}" for each in range(events)),
        0,
        "default",
        sent_before=sent_before,
        expires_ms=expires_ms,
        accepted=Acceptance(f"arn:{number}", 2, 0),
    )


def execution(status: str, error: str | None = None) -> Execution:
    return Execution("arn:1", "1-x", status, 0, None if status == "RUNNING" else 1, None, None, error, None)


class Api:
    """Answers with *answers* in turn, the last one for good, and notes when it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked_s: list[float] = []

    async def describe(self, arn: str) -> Execution:
        self.asked_s.append(asyncio.get_running_loop().time())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return execution(answer) if isinstance(answer, str) else answer


async def follow(
    describe: Callable[[str], Awaitable[Execution]], *batches: Batch, for_s: float = AN_AGE_S
) -> tuple[list[Report], Follower]:
    """Follow *batches* for *for_s* seconds, by default until all have ended."""
    reports: list[Report] = []
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        follower = Follower(
            describe, reports.append, tasks.create_task, clock=lambda: round(loop.time() * 1000)
        )
        running = tasks.create_task(follower.run())
        for one in batches:
            follower.follow(one)
        await asyncio.sleep(for_s)
        assert for_s < AN_AGE_S or not follower.following
        running.cancel()
    return reports, follower


def test_success_is_delivered() -> None:
    api, sent = Api("RUNNING", "RUNNING", "SUCCEEDED"), batch()
    reports, follower = run_virtually(follow(api.describe, sent))
    assert reports == [Delivered(sent, "arn:1", 2)]
    assert api.asked_s == pytest.approx([0.2, 0.45, 0.7625])
    assert (follower.delivered, follower.trouble) == (1, None)


def test_failure_is_dead_letter() -> None:
    sent = batch(events=2)
    reports, follower = run_virtually(follow(Api(execution("FAILED", "ApiGateway.404")).describe, sent))
    assert reports == [Refused(sent, "the execution 1-x ended as FAILED: ApiGateway.404")]
    assert follower.refused == 1
    assert "default" in (follower.trouble or "")


def test_forgotten_trouble_comes_back() -> None:
    """A destination that no rule names any more is never posted to again; one that is tells it anew."""

    async def main() -> list[str | None]:
        async with asyncio.TaskGroup() as tasks:
            api = Api(execution("FAILED", "ApiGateway.404"))
            follower = Follower(api.describe, lambda _: None, tasks.create_task)
            running = tasks.create_task(follower.run())
            troubles = []
            for number in range(2):
                follower.follow(batch(number))
                await asyncio.sleep(1)
                troubles.append(follower.trouble)
                follower.forget_troubles()
                troubles.append(follower.trouble)
            running.cancel()
        return troubles

    first, gone, again, _ = run_virtually(main())
    assert first is not None
    assert (gone, again) == (None, first)


def test_invalid_message_is_split() -> None:
    (report,), _ = run_virtually(follow(Api(execution("FAILED", "ApiGateway.400")).describe, batch(events=2)))
    assert isinstance(report, Refused)
    assert report.split


def test_refusals_in_a_row_defer() -> None:
    batches = [batch(number) for number in range(6)]
    reports, _ = run_virtually(follow(Api(execution("FAILED", "ApiGateway.401")).describe, *batches))
    assert [type(report) for report in reports] == [Refused] * 4 + [Deferred] * 2


def test_new_execution_may_be_unknown() -> None:
    """Its record may lag behind its start."""
    api = Api(UNKNOWN, UNKNOWN, "SUCCEEDED")
    reports, _ = run_virtually(follow(api.describe, batch()))
    assert [type(report) for report in reports] == [Delivered]


def test_forgotten_execution_is_sent_again() -> None:
    sent = batch()
    api = Api(UNKNOWN)
    reports, _ = run_virtually(follow(api.describe, sent))
    assert reports == [Forgotten(sent)]
    assert api.asked_s[-1] >= NEW_FOR_S
    assert run_virtually(follow(Api(UNKNOWN).describe, batch(sent_before=True)))[0] == [Forgotten(sent)]


def test_forgotten_and_too_old_is_dead_letter() -> None:
    """After that long the same name may start a second execution."""
    (report,), _ = run_virtually(follow(Api(UNKNOWN).describe, batch(sent_before=True, expires_ms=0)))
    assert isinstance(report, Refused)
    assert "does not know its execution any more" in report.reason


def test_unknown_execution_is_an_answer() -> None:
    """Polls work again then, and nothing keeps the relay from being ready."""
    sent = batch(sent_before=True, expires_ms=0)
    reports, follower = run_virtually(follow(Api(DOWN, DOWN, DOWN, UNKNOWN).describe, sent))
    assert [type(report) for report in reports] == [Refused]
    assert follower.trouble is None


def test_new_execution_is_not_buried() -> None:
    """Accepted just before a restart, it may run on unknown; a redrive of its dead letters posts twice."""
    sent = batch(sent_before=True, expires_ms=0)
    reports, _ = run_virtually(follow(Api(UNKNOWN, UNKNOWN, "SUCCEEDED").describe, sent))
    assert reports == [Delivered(sent, "arn:1", 2)]


def test_clock_set_forward_buries_no_new_execution() -> None:
    """By the clock it was accepted long ago and is past its age, and it has only just begun to run."""

    async def main() -> list[Report]:
        api, reports = Api(UNKNOWN, "SUCCEEDED"), list[Report]()
        async with asyncio.TaskGroup() as tasks:
            follower = Follower(api.describe, reports.append, tasks.create_task, clock=lambda: 10**9)
            running = tasks.create_task(follower.run())
            follower.follow(batch(expires_ms=10**8))
            await asyncio.sleep(60)
            running.cancel()
        return reports

    assert run_virtually(main()) == [Delivered(batch(), "arn:1", 2)]


@pytest.mark.parametrize(
    "error",
    [DOWN, Unauthorized("refused"), Rejected("no route", status=404), ValueError("a secret header")],
)
def test_failing_poll_says_nothing(error: Exception) -> None:
    """It is repeated, less and less often, and a few in a row are told; success ends the trouble."""
    api = Api(*[error] * 8, "SUCCEEDED")
    troubles = []

    async def main() -> list[Report]:
        reports: list[Report] = []
        async with asyncio.TaskGroup() as tasks:
            follower = Follower(api.describe, reports.append, tasks.create_task)
            running = tasks.create_task(follower.run())
            follower.follow(batch())
            for _ in range(3600):
                await asyncio.sleep(1)
                troubles.append(follower.trouble)
            running.cancel()
        return reports

    assert [type(report) for report in run_virtually(main())] == [Delivered]
    assert any(troubles)
    assert "secret" not in str(troubles)
    assert troubles[-1] is None


def test_polls_out_together_fail_once() -> None:
    """Thirty that are throttled at the same moment are one reason to wait, not thirty."""
    api = Api(*[TemporaryFailure("throttled")] * 30, "SUCCEEDED")
    reports, follower = run_virtually(follow(api.describe, *(batch(number) for number in range(30))))
    assert len(reports) == 30
    assert max(api.asked_s) < 3
    assert follower.trouble is None


def test_retry_after_pauses_all_polls() -> None:
    api = Api(TemporaryFailure("slow down", retry_after_s=60), "SUCCEEDED")
    run_virtually(follow(api.describe, batch(1), batch(2)))
    assert min(api.asked_s[2:]) >= 60


@pytest.mark.parametrize("error", [Rejected("too large"), Rejected("no access", code="X")])
def test_unseeable_end_counts_as_delivered(error: DeliveryError) -> None:
    """The API accepted it, and the lane must go on."""
    reports, follower = run_virtually(follow(Api(error).describe, batch()))
    assert [type(report) for report in reports] == [Delivered]
    assert follower.trouble == f"the end of executions cannot be seen: {error}"


def test_other_stacks_execution_is_sent_again() -> None:
    """The data directory may have moved: what an earlier process had accepted was another API's."""
    reports, _ = run_virtually(follow(Api(Rejected("no access")).describe, batch(sent_before=True)))
    assert [type(report) for report in reports] == [Forgotten]
    old = batch(sent_before=True, expires_ms=0)
    reports, _ = run_virtually(follow(Api(Rejected("no access")).describe, old))
    assert [type(report) for report in reports] == [Delivered]


def test_unseen_end_is_given_up_at_expiry() -> None:
    api = Api(DOWN)
    reports, _ = run_virtually(follow(api.describe, batch(expires_ms=3_600_000)))
    assert [type(report) for report in reports] == [Delivered]
    assert api.asked_s[-1] >= 3600


def test_old_execution_outlives_failing_polls() -> None:
    """A relay that was off for days finds a network that is not up yet: the execution may have failed."""
    sent = batch(sent_before=True, expires_ms=0)
    failed = execution("FAILED", "ApiGateway.404")
    reports, _ = run_virtually(follow(Api(DOWN, DOWN, DOWN, failed).describe, sent))
    assert reports == [Refused(sent, "the execution 1-x ended as FAILED: ApiGateway.404")]


def test_one_blind_execution_frees_its_lane() -> None:
    """Answers about others do not keep it waiting: each is given up by its own failures."""
    blind, seen = batch(1, expires_ms=0), batch(2, expires_ms=0)

    async def describe(arn: str) -> Execution:
        if arn == "arn:1":
            raise DOWN
        return execution("RUNNING")

    reports, follower = run_virtually(follow(describe, blind, seen, for_s=2 * BLIND_S))
    assert reports == [Delivered(blind, "arn:1", 2)]
    assert follower.following == 1


def test_answers_between_failures_start_the_wait_anew() -> None:
    answers: list[Answer] = [DOWN, "RUNNING"]
    api = Api(*answers * 500)
    reports, _ = run_virtually(follow(api.describe, batch(expires_ms=0), for_s=3 * BLIND_S))
    assert reports == []


def test_unknown_execution_survives_clock_set_back() -> None:
    """Accepted an hour from now, says the clock: its lane does not wait for that hour."""
    sent = dataclasses.replace(batch(), accepted=Acceptance("arn:1", 2, 3_600_000))
    api = Api(UNKNOWN)
    assert run_virtually(follow(api.describe, sent, for_s=60))[0] == [Forgotten(sent)]


def test_polls_stay_within_budget() -> None:
    """A thousand executions that run on are asked after no more often than the account allows."""
    api = Api("RUNNING")
    run_virtually(follow(api.describe, *(batch(number) for number in range(1000)), for_s=600))
    assert 5_000 <= len(api.asked_s) <= 150 + 10 * 600 + 1


def test_closing_waits_for_the_end() -> None:
    """Within the grace; what runs on is left to the next process."""

    async def main(*answers: Answer) -> tuple[list[Report], float]:
        reports: list[Report] = []
        api = Api(*answers)
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            follower = Follower(api.describe, reports.append, tasks.create_task)
            running = tasks.create_task(follower.run())
            follower.follow(batch())
            await asyncio.sleep(20)
            before_s = loop.time()
            await follower.close(10)
            running.cancel()
        return reports, loop.time() - before_s

    reports, took_s = run_virtually(main(*["RUNNING"] * 11, "SUCCEEDED"))
    assert [type(report) for report in reports] == [Delivered]
    assert took_s < 3
    reports, took_s = run_virtually(main("RUNNING"))
    assert reports == []
    assert took_s == pytest.approx(10)


def test_close_without_polls_ends_at_once() -> None:
    """After a fatal error the task that polls has ended first."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            follower = Follower(Api("RUNNING").describe, lambda _: None, tasks.create_task)
            running = tasks.create_task(follower.run())
            follower.follow(batch())
            await asyncio.sleep(1)
            running.cancel()
            await asyncio.wait([running])
            before_s = loop.time()
            await follower.close(10)
        return loop.time() - before_s

    assert run_virtually(main()) < 1
