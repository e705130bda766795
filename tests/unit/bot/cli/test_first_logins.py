"""The logins at the start of single-machine mode."""

import asyncio
import logging
import threading
from typing import Any

import structlog

from bot.cli.first_logins import first_logins

ARN = "arn:aws:states:us-east-1:000000000000:stateMachine:refresh"


class StepFunctions:
    """A client whose executions have this status and cause."""

    def __init__(self, status: str, cause: str = "") -> None:
        self.described = threading.Event()
        self._answer = {"status": status, **({"cause": cause} if cause else {})}

    def __call__(self, _service: str) -> Any:
        return self

    def start_execution(self, **_request: str) -> dict[str, str]:
        return {"executionArn": "arn:of:execution"}

    def describe_execution(self, **_request: str) -> dict[str, str]:
        self.described.set()
        return self._answer


async def _logged(client: StepFunctions) -> list[Any]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    with structlog.testing.capture_logs() as lines:
        async with first_logins(client, {"report": ARN}):
            assert await asyncio.to_thread(client.described.wait, 10)
    return lines


async def test_says_what_worked() -> None:
    (line,) = await _logged(StepFunctions("SUCCEEDED"))

    assert (line["event"], line["workflow"], line["log_level"]) == ("api_login_worked", "report", "info")


async def test_says_what_failed() -> None:
    (line,) = await _logged(StepFunctions("FAILED", "the login was refused"))

    assert (line["event"], line["reason"]) == ("api_login_failed", "the login was refused")
    assert (line["log_level"], "[report]" in line["next"]) == ("warning", True)


async def test_stop_waits_for_no_login() -> None:
    """Nor says anything of it: the next start tries again."""
    async with asyncio.timeout(30):
        assert await _logged(StepFunctions("RUNNING")) == []
