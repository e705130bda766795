"""``voice-relay status`` and ``stop``: how an execution stands, and the end of one that runs."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from bot.backoff import backoff_s
from bot.errors import DeliveryError, Rejected, SettingsError, StoreError, TemporaryFailure
from bot.execution_arn import ExecutionArn, check_region, parse_execution_arn
from bot.execution_view import describe_execution, explain_end, render_execution
from bot.executions import Execution, Executions, follow
from bot.ingress import Ingress
from bot.ledger import open_ledger
from bot.plain_text import Answer, escape, render_for_machine, render_moment
from bot.settings import load_data_dir
from bot.target import Target
from bot.timestamps import system_clock

_ATTEMPTS: Final = 3
_ONE_MACHINE: Final = (
    "VOICE_RELAY_API_ENDPOINT is not set: on one machine the executions live inside of `voice-relay run` and "
    "end with it, so nobody else can ask about them; its log tells of those that fail, as execution_failed"
)
_STOPPED: Final = "ABORTED"

Tell = Callable[[str], object]


def require_endpoint(endpoint: str | None) -> None:
    """Raise SettingsError without an *endpoint*: on one machine there is nobody to ask."""
    if endpoint is None:
        raise SettingsError([_ONE_MACHINE])


def find_execution(arguments: argparse.Namespace) -> ExecutionArn:
    """Return the execution that is meant; SettingsError, with the remedy, for what makes no sense."""
    if getattr(arguments, "timeout", None) is not None and not arguments.wait:
        raise SettingsError(["--timeout says how long to wait: give --wait as well"])
    return parse_execution_arn(arguments.execution, _find_receipt)


async def answer_status(
    arguments: argparse.Namespace, arn: ExecutionArn, target: Target, tell: Tell
) -> Answer:
    """Tell how the execution stands; raises the DeliveryError for which nobody can.

    *tell* gets a line about what gets in the way of waiting.
    """
    check_region(arn, target.region)
    async with opened(target) as executions:
        if arguments.wait:
            found = await follow(
                lambda: executions.describe(arn.text),
                timeout_s=arguments.timeout,
                on_failure=tell_changes(tell),
            )
        else:
            found = await _describe(executions, arn)
    if arguments.json:
        lines = render_for_machine(describe_execution(found))
    else:
        lines = render_execution(found, arn, system_clock())
    if found.ended:
        problem = explain_end(found)
    else:
        problem = f"it has not ended in {arguments.timeout:g} s" if arguments.wait else None
    return Answer(lines, [] if problem is None else [problem])


async def answer_stop(arguments: argparse.Namespace, arn: ExecutionArn, target: Target) -> Answer:
    """End the execution if that is meant; raises the DeliveryError for which that did not work."""
    check_region(arn, target.region)
    if not _confirm(arguments, arn):
        return Answer([], ["nothing was stopped"])
    async with opened(target) as executions:
        refused, ended_ms = None, 0
        try:
            ended_ms = await executions.stop(arn.text)
        except Rejected as error:
            refused = error
        found = await _look(executions, arn)
    if found is not None and found.ended:
        ended_ms = found.ended_ms or ended_ms
    elif refused is not None:
        raise refused
    line = f"stopped: {arn.name}"
    if found is not None and found.ended and found.status != _STOPPED:
        line = f"nothing to stop: {arn.name} had ended as {found.status}"
    return Answer([f"{escape(line)}, {render_moment(ended_ms, system_clock())}"])


@asynccontextmanager
async def opened(target: Target) -> AsyncIterator[Executions]:
    """Executions of *target*, asked about one at a time."""
    async with Ingress(
        target.endpoint, region=target.region, credentials=target.credentials, max_connections=1
    ) as ingress:
        yield Executions(ingress)


def tell_changes(tell: Tell) -> Callable[[DeliveryError], None]:
    """Return a function that tells of a failure where it is not the one before again."""
    last = ""

    def told(error: DeliveryError) -> None:
        nonlocal last
        if str(error) != last:
            last = str(error)
            tell(f"{last}; asking again")

    return told


def _confirm(arguments: argparse.Namespace, arn: ExecutionArn) -> bool:
    """Ask at the terminal whether the end of the execution is meant; no answer is a no."""
    if arguments.yes:
        return True
    if not sys.stdin.isatty():
        raise SettingsError(["there is no terminal to ask at whether this is meant: give --yes as well"])
    what = f"{escape(arn.name)} of {escape(arn.machine)}"
    sys.stderr.write(f"End {what}? What it still had to do is lost. [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


async def _describe(executions: Executions, arn: ExecutionArn) -> Execution:
    for attempt in range(1, _ATTEMPTS):
        try:
            return await executions.describe(arn.text)
        except TemporaryFailure as error:
            await asyncio.sleep(backoff_s(attempt, error.retry_after_s))
    return await executions.describe(arn.text)


async def _look(executions: Executions, arn: ExecutionArn) -> Execution | None:
    """Return how the execution stands; ``None`` if nobody tells: who may stop need not be allowed to look."""
    try:
        return await _describe(executions, arn)
    except DeliveryError:
        return None


def _find_receipt(execution: str) -> str | None:
    """Return the ARN that the outbox here knows for the name; ``None`` without one, or without an outbox."""
    try:
        with open_ledger(load_data_dir()) as ledger:
            return ledger.find_arn(execution)
    except StoreError:
        return None
