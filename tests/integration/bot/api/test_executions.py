"""Executions asked about and stopped, through answers that the embedded AWS cannot be made to give."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import orjson
import pytest
from aiohttp import web
from botocore.credentials import ReadOnlyCredentials

from bot.api.client import ApiClient
from bot.api.executions import Execution, Executions, follow
from bot.api.target import FixedCredentials, Target
from bot.errors import DeliveryError, Rejected, TemporaryFailure, Unauthorized
from tests.support.ingress import StubIngress

ARN = "arn:aws:states:us-east-1:123456789012:execution:voice-relay-notify:1-01JD"
KEY = ReadOnlyCredentials("AKIDEXAMPLE", "secret", None)
STARTED_MS = 1_795_244_400_123


@pytest.fixture
async def api() -> AsyncIterator[StubIngress]:
    async with StubIngress() as api:
        yield api


@pytest.fixture
async def executions(api: StubIngress) -> AsyncIterator[Executions]:
    target = Target(api.endpoint, "us-east-1", FixedCredentials(KEY))
    async with ApiClient(target, max_connections=1) as client:
        yield Executions(client)


def describe(status: str = "RUNNING", **more: Any) -> dict[str, Any]:
    """What the status workflow finds of an execution."""
    found = {
        "executionArn": ARN,
        "name": "1-01JD",
        "status": status,
        "startDate": "2026-11-21T07:00:00.123Z",
        "input": '{"id":"1-01JD"}',
    }
    return found | more


def succeed(output: object) -> bytes:
    """What StartSyncExecution answers about a run of the status workflow with this output."""
    text = output if isinstance(output, str) else orjson.dumps(output).decode()
    return orjson.dumps({"executionArn": "arn:x", "status": "SUCCEEDED", "startDate": 1.7e9, "output": text})


def fail(error: str, cause: str = "", status: str = "FAILED") -> bytes:
    return orjson.dumps({"executionArn": "arn:x", "status": status, "error": error, "cause": cause})


def answer(
    body: bytes, status: int = 200, **headers: str
) -> Callable[[web.BaseRequest], Awaitable[web.Response]]:
    async def reply(request: web.BaseRequest) -> web.Response:
        assert request.path.startswith("/executions/")
        assert "Execution-Name" not in request.headers
        assert orjson.loads(await request.read()) == {"executionArn": ARN}
        return web.Response(body=body, status=status, headers=headers, content_type="application/json")

    return reply


@pytest.mark.parametrize(
    "date", ["2026-11-21T07:00:00.123Z", 1_795_244_400.123, "2026-11-21T08:00:00.123+01:00"]
)
async def test_a_date_is_read_in_every_form_that_aws_writes(
    api: StubIngress, executions: Executions, date: object
) -> None:
    api.answers.append(answer(succeed(describe("SUCCEEDED", startDate=date, stopDate=date, output="{}"))))
    found = await executions.describe(ARN)
    assert found == Execution(
        ARN, "1-01JD", "SUCCEEDED", STARTED_MS, STARTED_MS, '{"id":"1-01JD"}', "{}", None, None
    )


async def test_input_and_output_of_full_size_are_read(api: StubIngress, executions: Executions) -> None:
    """256 KiB of quotes each, and every quote escaped twice on its way."""
    full = orjson.dumps(['"' * 100_000]).decode()
    api.answers.append(answer(succeed(describe("SUCCEEDED", stopDate=1.7e9, input=full, output=full))))
    assert (await executions.describe(ARN)).output == full


@pytest.mark.parametrize(
    ("status", "ended"), [("RUNNING", False), ("PENDING_REDRIVE", False), ("ABORTED", True)]
)
async def test_tells_what_has_ended(
    api: StubIngress, executions: Executions, status: str, ended: bool
) -> None:
    api.answers.append(answer(succeed(describe(status))))
    assert (await executions.describe(ARN)).ended is ended


DENIED = "Sfn.SfnException: User: … is not authorized to perform: states:DescribeExecution"


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (fail("ExecutionNotFound", "no execution"), Rejected, "there is no such execution"),
        (fail("ExecutionNotReadable", DENIED), Rejected, "not an execution of its workflows"),
        (fail("ExecutionNotReadable", "Rate exceeded"), TemporaryFailure, "Rate exceeded"),
        (fail("States.Timeout"), TemporaryFailure, "States.Timeout"),
        (fail("", status="TIMED_OUT"), TemporaryFailure, "TIMED_OUT"),
        (fail("States.DataLimitExceeded"), Rejected, "too large to be shown"),
        (fail("States.Runtime", "mistake"), Rejected, "mistake"),
        (succeed("no JSON"), Rejected, "makes no sense"),
        (succeed([]), Rejected, "makes no sense"),
        (succeed({"executionArn": ARN}), Rejected, "makes no sense"),
        (succeed(describe(startDate="yesterday")), Rejected, "makes no sense"),
        (succeed(describe(startDate=True)), Rejected, "makes no sense"),
        (succeed(describe(startDate=1e300)), Rejected, "makes no sense"),
        (succeed(describe(input={"not": "text"})), Rejected, "makes no sense"),
        (b'{"status":"SUCCEEDED"}', Rejected, "makes no sense"),
        (b"<html>a captive portal</html>", TemporaryFailure, "200"),
    ],
)  # fmt: skip
async def test_says_what_kept_the_stack_from_telling(
    api: StubIngress, executions: Executions, body: bytes, kind: type[DeliveryError], words: str
) -> None:
    api.answers.append(answer(body))
    with pytest.raises(DeliveryError, match=words) as caught:
        await executions.describe(ARN)
    assert type(caught.value) is kind


async def test_a_cause_shows_no_secret(api: StubIngress, executions: Executions) -> None:
    api.answers.append(answer(fail("ExecutionNotReadable", "POST /webhooks/123/a-secret-token failed")))
    with pytest.raises(TemporaryFailure) as caught:
        await executions.describe(ARN)
    assert "a-secret-token" not in str(caught.value)


@pytest.mark.parametrize("path", ["status", "stop"])
async def test_an_older_stack_is_named(api: StubIngress, executions: Executions, path: str) -> None:
    api.answers.append(answer(b'{"message":"Not Found"}', 404))
    with pytest.raises(Rejected, match=rf"does not know POST /executions/{path}: .*voice-relay deploy"):
        await (executions.describe(ARN) if path == "status" else executions.stop(ARN))


async def test_a_stop_tells_when_the_execution_ended(api: StubIngress, executions: Executions) -> None:
    api.answers.append(answer(b'{"stopDate":1.795244400123E9}'))
    assert await executions.stop(ARN) == STARTED_MS


SWF = "com.amazonaws.swf.service.v2.model#"


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (403, b'{"message":"Forbidden"}', Unauthorized, "OperatorPolicyArn.*AWS_PROFILE"),
        (400, b'{"__type":"AccessDeniedException"}', Rejected, "not an execution of its workflows"),
        (400, b'{"__type":"%sExecutionDoesNotExist"}' % SWF.encode(), Rejected, "no such execution"),
        (400, b'{"__type":"%sInvalidArn","message":"m"}' % SWF.encode(), Rejected, "InvalidArn: m"),
        (200, b'{"stopDate":null}', Rejected, "makes no sense"),
        (503, b"", TemporaryFailure, "503"),
    ],
)
async def test_says_what_kept_the_stack_from_stopping(
    api: StubIngress,
    executions: Executions,
    status: int,
    body: bytes,
    kind: type[DeliveryError],
    words: str,
) -> None:
    api.answers.append(answer(body, status))
    with pytest.raises(DeliveryError, match=words) as caught:
        await executions.stop(ARN)
    assert type(caught.value) is kind


async def test_a_clock_that_is_off_is_not_taken_for_a_missing_policy(
    api: StubIngress, executions: Executions
) -> None:
    date = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
    api.answers.append(answer(b'{"message":"Forbidden"}', 403, Date=date))
    with pytest.raises(Unauthorized, match=r"clock is 3[56][0-9][0-9] s ahead") as caught:
        await executions.stop(ARN)
    assert "OperatorPolicyArn" not in str(caught.value)


class Waiting:
    """Follows executions in a time that passes in the pauses between questions alone."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.pauses_s: list[float] = []
        self.failures: list[str] = []
        self.answers: deque[Execution | DeliveryError] = deque()

    async def describe(self) -> Execution:
        found = self.answers.popleft()
        if isinstance(found, DeliveryError):
            raise found
        return found

    async def sleep(self, seconds: float) -> None:
        self.pauses_s.append(seconds)
        self.now_s += seconds

    async def follow(self, *, chance: float = 1.0, new: bool = False) -> Execution:
        return await follow(
            self.describe,
            timeout_s=None,
            on_failure=lambda error: self.failures.append(str(error)),
            new=new,
            sleep=self.sleep,
            chance=lambda: chance,
            monotonic_s=lambda: self.now_s,
        )


def execution(status: str) -> Execution:
    return Execution(ARN, "1-01JD", status, STARTED_MS, None, None, None, None, None)


RUNS, ENDED = execution("RUNNING"), execution("FAILED")
DOWN = TemporaryFailure("the API answered 503", status=503)
NOT_FOUND = Rejected("there is no such execution", code="ExecutionNotFound")


async def test_asks_ever_more_rarely_until_the_end() -> None:
    waiting = Waiting()
    waiting.answers.extend([*[RUNS] * 9, ENDED])
    assert await waiting.follow() == ENDED
    assert waiting.pauses_s == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


async def test_many_who_wait_do_not_ask_together_and_never_at_once() -> None:
    waiting = Waiting()
    waiting.answers.extend([*[RUNS] * 3, ENDED])
    await waiting.follow(chance=0.0)
    assert waiting.pauses_s == [0.25, 0.5, 1.0]


async def test_goes_on_through_what_passes() -> None:
    waiting = Waiting()
    slower = TemporaryFailure("the API answered 429", status=429, retry_after_s=7.0)
    waiting.answers.extend([DOWN, RUNS, slower, DOWN, ENDED])
    assert await waiting.follow() == ENDED
    assert waiting.failures == [str(DOWN), str(slower), str(DOWN)]
    assert waiting.pauses_s == [0.5, 1.0, 9.0, 4.0]


@pytest.mark.parametrize("error", [NOT_FOUND, Rejected("no"), Unauthorized("the API answered 403")])
async def test_ends_at_what_does_not_pass(error: DeliveryError) -> None:
    waiting = Waiting()
    waiting.answers.extend([RUNS, error])
    with pytest.raises(type(error)) as caught:
        await waiting.follow()
    assert caught.value is error


async def test_what_is_new_may_be_unknown_for_a_while_and_no_longer() -> None:
    """DescribeExecution is eventually consistent."""
    waiting = Waiting()
    waiting.answers.extend([NOT_FOUND, NOT_FOUND, ENDED])
    assert await waiting.follow(new=True) == ENDED
    waiting.answers.extend([NOT_FOUND] * 20)
    with pytest.raises(Rejected):
        await waiting.follow(new=True)
    assert 15 <= sum(waiting.pauses_s[2:]) < 32


async def test_when_time_is_up_it_is_as_it_was_seen_last() -> None:
    async def runs() -> Execution:
        return RUNS

    assert await follow(runs, timeout_s=0.05, on_failure=print, chance=lambda: 0.0) == RUNS


async def test_when_time_is_up_and_nothing_was_seen_the_last_failure_is_told() -> None:
    async def fails() -> Execution:
        raise DOWN

    with pytest.raises(TemporaryFailure) as caught:
        await follow(fails, timeout_s=0.05, on_failure=lambda _: None)
    assert caught.value is DOWN
