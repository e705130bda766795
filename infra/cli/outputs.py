"""``voice-relay outputs``: the outputs of a stack."""

from dataclasses import dataclass
from typing import Final

from bot.cli.parser import Arguments, CommandParser
from bot.console import Console
from bot.text import render_facts, render_for_machine
from infra.cli.stack_options import StackOptions, add_stack_arguments, read_stack_options
from infra.deploy.aws_errors import DeployError
from infra.deploy.destroy import describe_stack
from infra.deploy.stack import Stack
from infra.deploy.stack_events import ignore
from infra.deploy.stack_status import CREATED

_HEALTHY: Final = CREATED | {"UPDATE_ROLLBACK_COMPLETE"}


@dataclass(frozen=True)
class Options:
    """Which stack, and how to answer."""

    stack: StackOptions
    json: bool


def add_arguments(parser: CommandParser) -> None:
    parser.description = "Show the outputs of a stack."
    parser.epilog = "Exit codes: 0 shown, 1 there is no such stack, 2 wrong usage or settings."
    add_stack_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def read_options(arguments: Arguments) -> Options:
    return Options(read_stack_options(arguments), arguments.json)


def run(options: Options, console: Console) -> int:
    """Print the outputs; raises DeployError if there is no such stack, or its creation failed."""
    account = options.stack.open_account()
    stack = Stack(account.client("cloudformation"), options.stack.name, on_event=ignore, poll_s=0)
    if not stack.exists():
        raise DeployError(options.stack.explain_absence(account))
    outputs = stack.outputs()
    if not outputs:
        _, status = describe_stack(account.client, options.stack.name)
        line = f"stack {options.stack.name} has no outputs; its status is {status}"
        if status not in _HEALTHY:
            raise DeployError(line)
        if not options.json:
            return console.report([line])
    lines = render_for_machine(outputs) if options.json else list(render_facts([*outputs.items()]))
    return console.report(lines)
