"""Describes, stops and follows executions through the ingress API."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

import orjson

from bot.api.client import ApiClient, Parse
from bot.api.execution_responses import (
    NOT_FOUND,
    SUCCEEDED,
    Execution,
    explain_missing_route,
    parse_status,
    parse_stop,
)
from bot.errors import DeliveryError, Rejected, TemporaryFailure

__all__ = ["SUCCEEDED", "Execution", "Executions", "follow"]

# Input and output may have 256 KiB each, and every quote in them arrives escaped twice.
_STATUS_MAX_BYTES: Final = 4 * 1024 * 1024
# DescribeExecution allows 15 calls a second in the whole account, so polling slows down.
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
_POLL_BASE_S: Final = 0.5
_POLL_CAP_S: Final = 30.0
# DescribeExecution is eventually consistent and may not know a new execution yet.
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html
_NEW_FOR_S: Final = 15.0

_T = TypeVar("_T")


class Executions:
    """Describes and stops executions through *api*."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def describe(self, arn: str, *, brief: bool = False) -> Execution:
        """Return the execution as it is now; raises a DeliveryError, Rejected if asking again cannot help.

        A *brief* answer lacks the input, which can be most of it.
        """
        extra = {"brief": True} if brief else {}
        return await self._post("/executions/status", {"executionArn": arn, **extra}, parse_status)

    async def stop(self, arn: str) -> int:
        """Stop the execution and return when it ended, in ms by AWS's clock; raises a DeliveryError."""
        return await self._post("/executions/stop", {"executionArn": arn}, parse_stop)

    async def _post(self, path: str, fields: Mapping[str, object], parse: Parse[_T]) -> _T:
        try:
            return await self._api.post(
                path, orjson.dumps(fields), parse, response_max_bytes=_STATUS_MAX_BYTES
            )
        except TemporaryFailure as error:
            if error.status == 404:
                raise explain_missing_route(path) from None
            raise


async def follow(
    describe: Callable[[], Awaitable[Execution]],
    *,
    timeout_s: float | None,
    on_failure: Callable[[DeliveryError], object],
    new: bool = False,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    random: Callable[[], float] = random.random,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> Execution:
    """Poll until the execution has ended, and return it; after *timeout_s*, return it as last seen.

    Temporary failures go to *on_failure*, and the last of them is raised if there was nothing else by the
    timeout; other errors are raised at once. An execution that is *new* may be unknown for a while.
    """
    poll = _Poll(describe, on_failure, monotonic_s, monotonic_s() + (_NEW_FOR_S if new else 0.0))
    attempts = 0
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                retry_after_s = await poll.ask()
                if poll.seen is not None and poll.seen.ended:
                    return poll.seen
                bound_s = min(_POLL_CAP_S, _POLL_BASE_S * 2.0 ** min(attempts, 16))
                # At least half of the bound, so that jitter never makes a burst of requests.
                await sleep(retry_after_s + bound_s * (0.5 + 0.5 * random()))
                attempts += 1
    except TimeoutError:
        if poll.seen is None:
            raise poll.failure from None
        return poll.seen


class _Poll:
    """What was seen last, and what failed last."""

    def __init__(
        self,
        describe: Callable[[], Awaitable[Execution]],
        on_failure: Callable[[DeliveryError], object],
        monotonic_s: Callable[[], float],
        known_by_s: float,
    ) -> None:
        self._describe = describe
        self._on_failure = on_failure
        self._monotonic_s = monotonic_s
        self._known_by_s = known_by_s
        self.seen: Execution | None = None
        self.failure = TemporaryFailure("the API did not answer in time", code="Timeout")

    async def ask(self) -> float:
        """Ask once, and return how many seconds the API wants to be left alone."""
        try:
            self.seen = await self._describe()
        except TemporaryFailure as error:
            self.failure = error
            self._on_failure(error)
            return error.retry_after_s or 0.0
        except Rejected as error:
            if error.code != NOT_FOUND or self._monotonic_s() >= self._known_by_s:
                raise
        return 0.0
