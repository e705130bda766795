"""``voice-relay status`` and ``stop``: how an execution stands, and the end of one that runs."""

import argparse
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from bot.api.client import ApiClient
from bot.api.execution_arn import ExecutionArn, check_region, parse_execution_arn
from bot.api.executions import Execution, Executions, follow
from bot.api.target import Target
from bot.backoff import backoff_s
from bot.cli.confirmation import confirm, require_terminal
from bot.cli.execution_view import describe_execution, explain_end, render_execution
from bot.clock import system_clock
from bot.errors import DeliveryError, Rejected, SettingsError, StoreError, TemporaryFailure
from bot.outbox.inspection import open_ledger
from bot.settings.settings import load_data_dir
from bot.text import Answer, escape, render_for_machine, render_moment

_ATTEMPTS: Final = 3
_ONE_MACHINE: Final = (
    "VOICE_RELAY_API_ENDPOINT is not set: on one machine the executions live inside of `voice-relay run` and "
    "end with it, so nobody else can ask about them; its log tells of those that fail, as execution_failed"
)
_STOPPED: Final = "ABORTED"
NOT_STOPPED: Final = "nothing was stopped"
ASK_AGAIN: Final = "ask again: voice-relay status --wait {}"

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
    arguments: argparse.Namespace, arn: ExecutionArn, target: Target, tell: Tell, *, watched: bool = False
) -> Answer:
    """Tell how the execution stands; raises the DeliveryError for which nobody can.

    *tell* gets a line about what gets in the way of waiting and, where somebody has *watched* from the
    beginning, that there is something to wait for.
    """
    check_region(arn, target.region)
    async with opened(target) as executions:
        if arguments.wait:
            look = tell_of_running(lambda: executions.describe(arn.text), tell if watched else _say_nothing)
            with waiting_for(arn.text):
                found = await follow(look, timeout_s=arguments.timeout, on_failure=tell_changes(tell))
        else:
            found = await _describe(executions, arn)
    if arguments.json:
        lines = render_for_machine(describe_execution(found))
    else:
        lines = render_execution(found, arn, system_clock())
    if found.ended:
        return Answer(lines, explain_end(found))
    return Answer(lines, [f"it has not ended in {arguments.timeout:g} s"] if arguments.wait else [])


def confirm_stop(arguments: argparse.Namespace, arn: ExecutionArn) -> bool:
    """Ask at the terminal whether the end of the execution is meant; SettingsError where there is none."""
    if arguments.yes:
        return True
    require_terminal()
    what = f"{escape(arn.name)} of {escape(arn.machine)}"
    return confirm(f"End {what}? What it still had to do is lost.", NOT_STOPPED)


async def answer_stop(arn: ExecutionArn, target: Target) -> Answer:
    """End the execution; raises the DeliveryError for which that did not work."""
    check_region(arn, target.region)
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
    async with ApiClient(target, max_connections=1) as api:
        yield Executions(api)


def tell_changes(tell: Tell) -> Callable[[DeliveryError], None]:
    """Return a function that tells of a failure where it is not the one before again."""
    last = ""

    def told(error: DeliveryError) -> None:
        nonlocal last
        if str(error) != last:
            last = str(error)
            tell(f"{last}; asking again")

    return told


@contextmanager
def waiting_for(arn: str) -> Iterator[None]:
    """Make of Ctrl-C a KeyboardInterrupt that says how to go on waiting: the execution is not ended by it."""
    try:
        yield
    # Ctrl-C is a cancellation by the time that it gets here.
    # https://docs.python.org/3/library/asyncio-runner.html#handling-keyboard-interruption
    except asyncio.CancelledError:
        raise KeyboardInterrupt(f"the execution goes on; {ASK_AGAIN.format(arn)}") from None


def tell_of_running(
    describe: Callable[[], Awaitable[Execution]], tell: Tell
) -> Callable[[], Awaitable[Execution]]:
    """Return *describe*, telling the first time that the execution has not ended since when it runs."""
    told = False

    async def look() -> Execution:
        nonlocal told
        found = await describe()
        if not (found.ended or told):
            told = True
            since = render_moment(found.started_ms, system_clock())
            tell(f"{escape(found.name)} is {escape(found.status)}, started {since}; waiting for its end")
        return found

    return look


def _say_nothing(_: str) -> None: ...


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
