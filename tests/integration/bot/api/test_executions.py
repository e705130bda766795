"""Executions described, stopped and followed, with answers that the embedded AWS never gives."""

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
    """Return the output of the status workflow."""
    found = {
        "executionArn": ARN,
        "name": "1-01JD",
        "status": status,
        "startDate": "2026-11-21T07:00:00.123Z",
        "input": '{"id":"1-01JD"}',
    }
    return found | more


def succeed(output: object) -> bytes:
    """Return StartSyncExecution's answer for a run of the status workflow with *output*."""
    text = output if isinstance(output, str) else orjson.dumps(output).decode()
    return orjson.dumps({"executionArn": "arn:x", "status": "SUCCEEDED", "startDate": 1.7e9, "output": text})


def fail(error: str, cause: str = "", status: str = "FAILED") -> bytes:
    return orjson.dumps({"executionArn": "arn:x", "status": status, "error": error, "cause": cause})


def answer(
    body: bytes, status: int = 200, *, brief: bool = False, **headers: str
) -> Callable[[web.BaseRequest], Awaitable[web.Response]]:
    async def reply(request: web.BaseRequest) -> web.Response:
        assert request.path.startswith("/executions/")
        assert "Execution-Name" not in request.headers
        asked = {"executionArn": ARN, "brief": True} if brief else {"executionArn": ARN}
        assert orjson.loads(await request.read()) == asked
        return web.Response(body=body, status=status, headers=headers, content_type="application/json")

    return reply


@pytest.mark.parametrize(
    "date", ["2026-11-21T07:00:00.123Z", 1_795_244_400.123, "2026-11-21T08:00:00.123+01:00"]
)
async def test_reads_every_date_format(api: StubIngress, executions: Executions, date: object) -> None:
    api.answers.append(answer(succeed(describe("SUCCEEDED", startDate=date, stopDate=date, output="{}"))))
    found = await executions.describe(ARN)
    assert found == Execution(
        ARN, "1-01JD", "SUCCEEDED", STARTED_MS, STARTED_MS, '{"id":"1-01JD"}', "{}", None, None
    )


async def test_brief_description_lacks_input(api: StubIngress, executions: Executions) -> None:
    without_input = {name: value for name, value in describe("SUCCEEDED").items() if name != "input"}
    api.answers.append(answer(succeed(without_input | {"stopDate": 1.7e9, "output": "{}"}), brief=True))
    found = await executions.describe(ARN, brief=True)
    assert (found.status, found.input, found.output) == ("SUCCEEDED", None, "{}")


async def test_reads_largest_input_and_output(api: StubIngress, executions: Executions) -> None:
    """About 256 KiB of quotes each, and every quote arrives escaped twice."""
    full = orjson.dumps(['"' * 100_000]).decode()
    api.answers.append(answer(succeed(describe("SUCCEEDED", stopDate=1.7e9, input=full, output=full))))
    assert (await executions.describe(ARN)).output == full


@pytest.mark.parametrize(
    ("status", "ended"), [("RUNNING", False), ("PENDING_REDRIVE", False), ("ABORTED", True)]
)
async def test_ended_by_status(api: StubIngress, executions: Executions, status: str, ended: bool) -> None:
    api.answers.append(answer(succeed(describe(status))))
    assert (await executions.describe(ARN)).ended is ended


DENIED = "Sfn.SfnException: User: … is not authorized to perform: states:DescribeExecution"


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (fail("ExecutionNotFound", "no execution"), Rejected, "no such execution"),
        (fail("ExecutionNotReadable", DENIED), Rejected, "not an execution of the stack's workflows"),
        (fail("ExecutionNotReadable", "Rate exceeded"), TemporaryFailure, "Rate exceeded"),
        (fail("States.Timeout"), TemporaryFailure, "States.Timeout"),
        (fail("", status="TIMED_OUT"), TemporaryFailure, "TIMED_OUT"),
        (fail("States.DataLimitExceeded"), Rejected, "too large to show"),
        (fail("States.Runtime", "mistake"), Rejected, "mistake"),
        (succeed("no JSON"), Rejected, "not as expected"),
        (succeed([]), Rejected, "not as expected"),
        (succeed({"executionArn": ARN}), Rejected, "not as expected"),
        (succeed(describe(startDate="yesterday")), Rejected, "not as expected"),
        (succeed(describe(startDate=True)), Rejected, "not as expected"),
        (succeed(describe(startDate=1e300)), Rejected, "not as expected"),
        (succeed(describe(input={"not": "text"})), Rejected, "not as expected"),
        (b'{"status":"SUCCEEDED"}', Rejected, "not as expected"),
        (b"<html>a captive portal</html>", TemporaryFailure, "200"),
    ],
)  # fmt: skip
async def test_explains_failed_status(
    api: StubIngress, executions: Executions, body: bytes, kind: type[DeliveryError], words: str
) -> None:
    api.answers.append(answer(body))
    with pytest.raises(DeliveryError, match=words) as caught:
        await executions.describe(ARN)
    assert type(caught.value) is kind


async def test_masks_secrets_in_cause(api: StubIngress, executions: Executions) -> None:
    api.answers.append(answer(fail("ExecutionNotReadable", "POST /webhooks/123/a-secret-token failed")))
    with pytest.raises(TemporaryFailure) as caught:
        await executions.describe(ARN)
    assert "a-secret-token" not in str(caught.value)


@pytest.mark.parametrize("path", ["status", "stop"])
async def test_names_older_stack(api: StubIngress, executions: Executions, path: str) -> None:
    api.answers.append(answer(b'{"message":"Not Found"}', 404))
    with pytest.raises(Rejected, match=rf"has no route POST /executions/{path}: .*voice-relay deploy"):
        await (executions.describe(ARN) if path == "status" else executions.stop(ARN))


async def test_stop_returns_end_time(api: StubIngress, executions: Executions) -> None:
    api.answers.append(answer(b'{"stopDate":1.795244400123E9}'))
    assert await executions.stop(ARN) == STARTED_MS


SWF = "com.amazonaws.swf.service.v2.model#"


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (403, b'{"message":"Forbidden"}', Unauthorized, "OperatorPolicyArn.*AWS_PROFILE"),
        (400, b'{"__type":"AccessDeniedException"}', Rejected, "not an execution of the stack's workflows"),
        (400, b'{"__type":"%sExecutionDoesNotExist"}' % SWF.encode(), Rejected, "no such execution"),
        (400, b'{"__type":"%sInvalidArn","message":"m"}' % SWF.encode(), Rejected, "InvalidArn: m"),
        (200, b'{"stopDate":null}', Rejected, "not as expected"),
        (503, b"", TemporaryFailure, "503"),
    ],
)
async def test_explains_failed_stop(
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


async def test_wrong_clock_before_missing_policy(api: StubIngress, executions: Executions) -> None:
    date = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
    api.answers.append(answer(b'{"message":"Forbidden"}', 403, Date=date))
    with pytest.raises(Unauthorized, match=r"clock is 3[56][0-9][0-9] s ahead") as caught:
        await executions.stop(ARN)
    assert "OperatorPolicyArn" not in str(caught.value)


class Waiting:
    """Follows an execution; time passes only in the pauses between polls."""

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

    async def follow(self, *, jitter: float = 1.0, new: bool = False) -> Execution:
        return await follow(
            self.describe,
            timeout_s=None,
            on_failure=lambda error: self.failures.append(str(error)),
            new=new,
            sleep=self.sleep,
            random=lambda: jitter,
            monotonic_s=lambda: self.now_s,
        )


def execution(status: str) -> Execution:
    return Execution(ARN, "1-01JD", status, STARTED_MS, None, None, None, None, None)


RUNS, ENDED = execution("RUNNING"), execution("FAILED")
DOWN = TemporaryFailure("the API answered 503", status=503)
NOT_FOUND = Rejected("no such execution", code="ExecutionNotFound")


async def test_follow_backs_off_to_cap() -> None:
    waiting = Waiting()
    waiting.answers.extend([*[RUNS] * 9, ENDED])
    assert await waiting.follow() == ENDED
    assert waiting.pauses_s == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


async def test_follow_jitter_keeps_half() -> None:
    """Jitter spreads the polls of many followers, and halves a pause at most."""
    waiting = Waiting()
    waiting.answers.extend([*[RUNS] * 3, ENDED])
    await waiting.follow(jitter=0.0)
    assert waiting.pauses_s == [0.25, 0.5, 1.0]


async def test_follow_survives_temporary_failures() -> None:
    waiting = Waiting()
    slower = TemporaryFailure("the API answered 429", status=429, retry_after_s=7.0)
    waiting.answers.extend([DOWN, RUNS, slower, DOWN, ENDED])
    assert await waiting.follow() == ENDED
    assert waiting.failures == [str(DOWN), str(slower), str(DOWN)]
    assert waiting.pauses_s == [0.5, 1.0, 9.0, 4.0]


@pytest.mark.parametrize("error", [NOT_FOUND, Rejected("no"), Unauthorized("the API answered 403")])
async def test_follow_ends_at_permanent_error(error: DeliveryError) -> None:
    waiting = Waiting()
    waiting.answers.extend([RUNS, error])
    with pytest.raises(type(error)) as caught:
        await waiting.follow()
    assert caught.value is error


async def test_follow_waits_for_new_execution() -> None:
    """DescribeExecution is eventually consistent, so a new execution may be unknown for 15 s."""
    waiting = Waiting()
    waiting.answers.extend([NOT_FOUND, NOT_FOUND, ENDED])
    assert await waiting.follow(new=True) == ENDED
    waiting.answers.extend([NOT_FOUND] * 20)
    with pytest.raises(Rejected):
        await waiting.follow(new=True)
    assert 15 <= sum(waiting.pauses_s[2:]) < 32


async def test_follow_timeout_returns_last_seen() -> None:
    async def runs() -> Execution:
        return RUNS

    assert await follow(runs, timeout_s=0.05, on_failure=print, random=lambda: 0.0) == RUNS


async def test_follow_timeout_raises_last_failure() -> None:
    async def fails() -> Execution:
        raise DOWN

    with pytest.raises(TemporaryFailure) as caught:
        await follow(fails, timeout_s=0.05, on_failure=lambda _: None)
    assert caught.value is DOWN
