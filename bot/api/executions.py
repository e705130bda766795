"""What becomes of executions: asked of the ingress API, which lets an Express workflow look, and stopped.

The answer about an execution is wrapped twice: API Gateway hands on what StartSyncExecution says about the
run of the status workflow, and the output of that, JSON in a string, is the execution.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import orjson

from bot.api.client import ApiClient, Parse
from bot.api.responses import parse_answer
from bot.errors import DeliveryError, Rejected, TemporaryFailure
from bot.telemetry.secret_patterns import mask_shapes

RUNNING: Final = frozenset({"RUNNING", "PENDING_REDRIVE"})
SUCCEEDED: Final = "SUCCEEDED"

# Input and output may have 256 KiB each, and every quote in them comes escaped twice.
_STATUS_MAX_BYTES: Final = 4 * 1024 * 1024
# DescribeExecution has 15 calls a second for the whole account, so nobody asks more often than need be.
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
_POLL_BASE_S: Final = 0.5
_POLL_CAP_S: Final = 30.0
# DescribeExecution is eventually consistent: at first it may not know what has just been started.
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html
_NEW_FOR_S: Final = 15.0

_OPERATOR_POLICY: Final = (
    "operator policy (output OperatorPolicyArn; the bot's own user does not have it, so name another "
    "principal, as with AWS_PROFILE)"
)
_NO_ROUTE: Final = (
    "the API does not know POST {path}: its stack is older than this voice-relay (update it with "
    "`voice-relay deploy`), or VOICE_RELAY_API_ENDPOINT is not the stack's ApiEndpoint"
)
_NO_SENSE: Final = "the API's answer makes no sense here: bring the stack and this voice-relay to one version"
_NOT_OURS: Final = "the stack may not stop it: it is not an execution of its workflows"
_TOO_LARGE: Final = "what went into the execution and came out of it is too large to be shown together"
_UNKNOWN: Final = "there is no such execution: it was never started, or has ended more than 90 days ago"
_NOT_READABLE: Final = "the stack may not look at it: it is not an execution of its workflows"
_NOT_FOUND: Final = "ExecutionNotFound"
_SAID: Final = {_NOT_FOUND: _UNKNOWN, "States.DataLimitExceeded": _TOO_LARGE}
_FINAL: Final = frozenset({"States.Runtime", "States.QueryEvaluationError"})
_DENIED: Final = ("not authorized", "AccessDenied")
_CAUSE_MAX_CHARS: Final = 500
_SENSELESS: Final = (KeyError, TypeError, ValueError, OverflowError, OSError)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Execution:
    """``input`` and ``output`` are JSON as the execution got and gave it; times by AWS's clock, in ms."""

    arn: str
    name: str
    status: str
    started_ms: int
    ended_ms: int | None
    input: str | None
    output: str | None
    error: str | None
    cause: str | None

    @property
    def ended(self) -> bool:
        return self.status not in RUNNING


class Executions:
    """Asks about executions, and stops them, through *api*."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def describe(self, arn: str) -> Execution:
        """Return how the execution stands; raises a DeliveryError, Rejected if asking again is no use."""
        return await self._post("/executions/status", arn, parse_status)

    async def stop(self, arn: str) -> int:
        """Stop the execution and return when it ended, by AWS's clock; raises a DeliveryError."""
        try:
            return await self._post("/executions/stop", arn, _parse_stop)
        except DeliveryError as error:
            # Denied by Step Functions, it is not the caller who may not, but the stack's own role.
            said = {"ExecutionDoesNotExist": _UNKNOWN, "AccessDeniedException": _NOT_OURS}.get(error.code)
            if said is None:
                raise
            raise Rejected(said, status=error.status, code=error.code) from None

    async def _post(self, path: str, arn: str, parse: Parse[_T]) -> _T:
        body = orjson.dumps({"executionArn": arn})
        try:
            return await self._api.post(path, body, parse, response_max_bytes=_STATUS_MAX_BYTES)
        except TemporaryFailure as error:
            if error.status == 404:
                raise Rejected(_NO_ROUTE.format(path=path), status=404) from None
            raise


async def follow(
    describe: Callable[[], Awaitable[Execution]],
    *,
    timeout_s: float | None,
    on_failure: Callable[[DeliveryError], object],
    new: bool = False,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    chance: Callable[[], float] = random.random,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> Execution:
    """Ask until the execution has ended and return it; after *timeout_s*, as it was seen last.

    Goes on through temporary failures, each of which *on_failure* is told of; with nothing else until the
    time is over, the last of them is raised. So is what will not pass. An execution that is *new* may take a
    while to be known.
    """
    seen: Execution | None = None
    failed = TemporaryFailure("the API did not answer in time", code="Timeout")
    new_until_s = monotonic_s() + _NEW_FOR_S
    attempts = 0
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                wish_s = 0.0
                try:
                    seen = await describe()
                    if seen.ended:
                        return seen
                except TemporaryFailure as error:
                    failed, wish_s = error, error.retry_after_s or 0.0
                    on_failure(error)
                except Rejected as error:
                    if not (new and error.code == _NOT_FOUND and monotonic_s() < new_until_s):
                        raise
                bound_s = min(_POLL_CAP_S, _POLL_BASE_S * 2.0 ** min(attempts, 16))
                # At least half of it, so that chance never makes a burst of questions.
                await sleep(wish_s + bound_s * (0.5 + 0.5 * chance()))
                attempts += 1
    except TimeoutError:
        if seen is None:
            raise failed from None
        return seen


def parse_status(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> Execution:
    """Return the execution that the status route answered with, or raise a DeliveryError."""
    run = parse_answer(status, headers, body, now)
    # https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartSyncExecution.html
    if run.get("status") != SUCCEEDED:
        raise _explain_run(run)
    try:
        return _parse_execution(orjson.loads(run["output"]))
    except _SENSELESS:
        raise Rejected(_NO_SENSE, status=status) from None


def _explain_run(run: Mapping[str, Any]) -> DeliveryError:
    """Return why the status workflow itself did not succeed."""
    code = str(run.get("error") or run.get("status") or "")
    cause = mask_shapes(str(run.get("cause") or ""))[:_CAUSE_MAX_CHARS]
    if code in _SAID:
        return Rejected(_SAID[code], code=code)
    if any(words in cause for words in _DENIED):
        return Rejected(_NOT_READABLE, code=code)
    kind = Rejected if code in _FINAL else TemporaryFailure
    return kind(
        f"the stack could not look at the execution: {code}" + (f": {cause}" if cause else ""), code=code
    )


def _parse_execution(found: Any) -> Execution:
    """Return the execution; one of the ``_SENSELESS`` if *found* is none."""
    if not isinstance(found, dict):
        raise TypeError(found)
    text = {name: found.get(name) for name in ("input", "output", "error", "cause")}
    for value in text.values():
        if not isinstance(value, str | None):
            raise TypeError(value)
    ended = found.get("stopDate")
    return Execution(
        arn=str(found["executionArn"]),
        name=str(found["name"]),
        status=str(found["status"]),
        started_ms=_parse_date(found["startDate"]),
        ended_ms=None if ended is None else _parse_date(ended),
        **text,
    )


def _parse_stop(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> int:
    answer = parse_answer(status, headers, body, now, policy=_OPERATOR_POLICY)
    try:
        return _parse_date(answer["stopDate"])
    except _SENSELESS:
        raise Rejected(_NO_SENSE, status=status) from None


def _parse_date(value: object) -> int:
    """Return milliseconds since 1970 of either form that AWS writes: seconds since 1970, or ISO 8601."""
    if isinstance(value, str):
        when = datetime.fromisoformat(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        when = datetime.fromtimestamp(value, UTC)
    else:
        raise TypeError(value)
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
