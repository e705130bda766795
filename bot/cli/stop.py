"""``voice-relay stop``: stops a running execution, after asking."""

from dataclasses import dataclass
from typing import Final

from bot.api.execution_arn import ExecutionArn, check_region
from bot.api.executions import Execution, Executions
from bot.api.target import Target
from bot.cli.execution import (
    add_execution,
    ask_api,
    describe,
    find_execution,
    load_deployed_settings,
    open_executions,
)
from bot.cli.parser import Arguments, CommandParser
from bot.clock import system_clock
from bot.console import EXIT_DONE, Console
from bot.errors import DeliveryError, Rejected
from bot.text import escape, render_moment

_ABORTED: Final = "ABORTED"
_NOT_STOPPED: Final = "nothing was stopped"


@dataclass(frozen=True, slots=True)
class Options:
    """``execution`` is an ARN, or a name that the outbox has a receipt of."""

    execution: str
    yes: bool = False


def add_arguments(parser: CommandParser) -> None:
    parser.description = (
        "Stop a running execution. What it has done stays done; the rest is lost: its events are not sent "
        "again. Needs the stack's operator policy."
    )
    parser.epilog = "Exit codes: 0 it no longer runs, 1 not stopped, 2 wrong usage or settings."
    add_execution(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def read_options(arguments: Arguments) -> Options:
    return Options(arguments.execution, arguments.yes)


def run(options: Options, console: Console) -> int:
    arn = find_execution(options.execution)
    settings = load_deployed_settings()
    if not (options.yes or confirm_stop(arn, console)):
        return console.report([], [_NOT_STOPPED])
    return ask_api(settings, lambda target: stop(arn, target, console))


def confirm_stop(arn: ExecutionArn, console: Console) -> bool:
    what = f"{escape(arn.name)} of {escape(arn.machine)}"
    return console.confirm(f"Stop {what}? The rest of its work is lost.", otherwise=_NOT_STOPPED)


async def stop(arn: ExecutionArn, target: Target, console: Console) -> int:
    """Stop the execution; raises the DeliveryError that prevented it."""
    check_region(arn, target.region)
    async with open_executions(target) as executions:
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
    if found is not None and found.ended and found.status != _ABORTED:
        line = f"nothing to stop: {arn.name} had ended as {found.status}"
    console.say(f"{escape(line)}, {render_moment(ended_ms, system_clock())}")
    return EXIT_DONE


async def _look(executions: Executions, arn: ExecutionArn) -> Execution | None:
    """Return the execution; ``None`` if it cannot be had: permission to stop does not include reading."""
    try:
        return await describe(executions, arn)
    except DeliveryError:
        return None
