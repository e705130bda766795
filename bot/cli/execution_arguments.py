"""What can be asked about executions, for the command line; other modules, slower to import, do it."""

import argparse
import math
from typing import Final

from bot.cli.argument_values import snowflake

TEST_TIMEOUT_S: Final = 900.0


def add_status(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command and return its parser."""
    parser = commands.add_parser(
        "status",
        help="how an execution stands: its times, input, output and error",
        description="Show how an execution stands, as the stack's API tells it.",
        epilog="Exit codes: 0 it succeeded, or runs and was not waited for; 1 it ended otherwise, did not "
        "end in time, or the API did not tell; 2 wrong usage or settings.",
    )
    _add_execution(parser)
    parser.add_argument("--wait", action="store_true", help="ask until it has ended")
    parser.add_argument("--timeout", type=_seconds, metavar="S", help="wait no longer than that many seconds")
    parser.add_argument("--json", action="store_true", help="answer in JSON, with times in UTC")
    return parser


def add_stop(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command and return its parser."""
    parser = commands.add_parser(
        "stop",
        help="end an execution that runs",
        description="End an execution that runs. What it has done stays done, and what it still had to do is "
        "lost: its events are not sent again. Needs the stack's operator policy.",
        epilog="Exit codes: 0 it does not run any more, 1 not stopped, 2 wrong usage or settings.",
    )
    _add_execution(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask whether this is meant")
    return parser


def add_send_test(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command and return its parser."""
    parser = commands.add_parser(
        "send-test",
        help="send one made-up event through the API",
        description="Send one made-up event through the API, past the outbox, and print the execution that "
        "it started.",
        epilog="Exit codes: 0 accepted, and with --wait Discord has taken the message; 1 otherwise; 2 wrong "
        "usage or settings.",
    )
    for name in ("guild", "channel", "user"):
        parser.add_argument(
            f"--{name}-id", default="1", type=snowflake, metavar="ID", help="of the event (default: 1)"
        )
    parser.add_argument("--workflow", default="notify", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--destination", default="default", metavar="NAME", help="default: %(default)s")
    parser.add_argument(
        "--wait", action="store_true", help="wait for the end, and tell how long each hop took"
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        metavar="S",
        help=f"wait no longer than that many seconds (default: {TEST_TIMEOUT_S:g})",
    )
    return parser


def _add_execution(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "execution",
        metavar="ARN",
        help="of the execution; its name alone is enough where the outbox here has its receipt",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError("must be a number of seconds, more than 0")
    return seconds
