"""``voice-relay status``: an execution, as the stack's API describes it."""

from dataclasses import dataclass

from bot.api.execution_arn import ExecutionArn, check_region
from bot.api.executions import Execution, follow
from bot.api.target import Target
from bot.cli.execution import (
    add_execution,
    ask_api,
    describe,
    find_execution,
    load_deployed_settings,
    open_executions,
)
from bot.cli.execution_view import describe_execution, explain_end, render_execution
from bot.cli.parser import Arguments, CommandParser, seconds
from bot.cli.waiting import hint_failures, hint_running, waiting_for
from bot.clock import system_clock
from bot.console import Console
from bot.errors import SettingsError
from bot.text import render_for_machine


@dataclass(frozen=True, slots=True)
class Options:
    """``execution`` is an ARN, or a name that the outbox has a receipt of."""

    execution: str
    wait: bool = False
    timeout_s: float | None = None
    json: bool = False


def add_arguments(parser: CommandParser) -> None:
    parser.description = "Show an execution, as the stack's API describes it."
    parser.epilog = (
        "Exit codes: 0 it succeeded, or is running and --wait was not given; 1 it ended otherwise, did not "
        "end in time, or the API did not answer; 2 wrong usage or settings."
    )
    add_execution(parser)
    parser.add_argument("--wait", action="store_true", help="ask until it has ended")
    parser.add_argument("--timeout", type=seconds, metavar="S", help="wait no longer than S seconds")
    parser.add_json()


def read_options(arguments: Arguments) -> Options:
    if arguments.timeout is not None and not arguments.wait:
        raise SettingsError(["--timeout limits the waiting: give --wait as well"])
    return Options(arguments.execution, arguments.wait, arguments.timeout, arguments.json)


def run(options: Options, console: Console) -> int:
    arn = find_execution(options.execution)
    settings = load_deployed_settings()
    return ask_api(settings, lambda target: show_status(options, arn, target, console))


async def show_status(options: Options, arn: ExecutionArn, target: Target, console: Console) -> int:
    """Print the execution, and why it failed if it did; raises DeliveryError if the API does not tell."""
    check_region(arn, target.region)
    found = await _find(options, arn, target, console)
    if options.json:
        lines = render_for_machine(describe_execution(found))
    else:
        lines = render_execution(found, arn, system_clock())
    if found.ended:
        return console.report(lines, explain_end(found))
    return console.report(
        lines, [f"the execution was still running after {options.timeout_s:g} s"] if options.wait else []
    )


async def _find(options: Options, arn: ExecutionArn, target: Target, console: Console) -> Execution:
    async with open_executions(target) as executions:
        if not options.wait:
            return await describe(executions, arn)

        async def look() -> Execution:
            return await executions.describe(arn.text)

        with waiting_for(arn.text):
            return await follow(
                hint_running(look, console.hint) if console.is_watched else look,
                timeout_s=options.timeout_s,
                on_failure=hint_failures(console.hint),
            )
