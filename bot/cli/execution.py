"""What the commands about one execution share: which one is meant, and the API that knows it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

from bot.api.client import ApiClient
from bot.api.execution_arn import ExecutionArn, parse_execution_arn
from bot.api.executions import Execution, Executions
from bot.api.target import Target
from bot.backoff import backoff_s
from bot.cli.connect import connect
from bot.cli.event_loop import run_async
from bot.cli.parser import CommandParser
from bot.errors import SettingsError, StoreError, TemporaryFailure
from bot.outbox.inspection import open_inspection
from bot.settings.settings import ApiSettings, load_api_settings, load_data_dir
from bot.telemetry.logs import configure_logging

_ATTEMPTS: Final = 3
_ONE_MACHINE: Final = (
    "VOICE_RELAY_API_ENDPOINT is not set: in single-machine mode, executions live inside `voice-relay run`, "
    "where no other process can look them up; `voice-relay outbox list` lists messages that Discord refused"
)


def add_execution(parser: CommandParser) -> None:
    parser.add_argument(
        "execution",
        metavar="ARN",
        help="the execution's ARN, or its name if the local outbox has its receipt",
    )


def find_execution(text: str) -> ExecutionArn:
    """Return the execution with this ARN or name; raises SettingsError with what was expected."""
    return parse_execution_arn(text, _find_receipt)


def load_deployed_settings() -> ApiSettings:
    """Return the settings of a deployed API; raises SettingsError in single-machine mode."""
    settings = load_api_settings()
    if settings.api_endpoint is None:
        raise SettingsError([_ONE_MACHINE])
    return settings


def ask_api(settings: ApiSettings, ask: Callable[[Target], Coroutine[Any, Any, int]]) -> int:
    """Return what *ask* returns for the API of the settings; the log goes to the standard error."""
    redactor = configure_logging("auto", "warning", settings.secrets(), sys.stderr)

    async def body() -> int:
        async with connect(settings, redactor) as target:
            return await ask(target)

    return run_async(body())


@asynccontextmanager
async def open_executions(target: Target) -> AsyncIterator[Executions]:
    """Yield the executions of *target*, over one connection."""
    async with ApiClient(target, max_connections=1) as api:
        yield Executions(api)


async def describe(executions: Executions, arn: ExecutionArn) -> Execution:
    """Return the execution; asks up to three times, then raises the DeliveryError."""
    for attempt in range(1, _ATTEMPTS):
        try:
            return await executions.describe(arn.text)
        except TemporaryFailure as error:
            await asyncio.sleep(backoff_s(attempt, error.retry_after_s))
    return await executions.describe(arn.text)


def _find_receipt(execution: str) -> str | None:
    """Return the ARN that the outbox here has for the name; ``None`` without one, or without an outbox."""
    try:
        with open_inspection(load_data_dir()) as inspection:
            return inspection.find_arn(execution)
    except StoreError:
        return None
