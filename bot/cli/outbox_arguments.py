"""What can be asked about the outbox, for the command line; other modules, slower to import, do it."""

import argparse
from pathlib import Path
from typing import Final

_LIST_MAX: Final = 50
_ID: Final = "a dead letter's id in the list, or an event's id"


def add_outbox(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command and return its parser; ``arguments.action`` says what is to be done."""
    parser = commands.add_parser(
        "outbox",
        help="look at the outbox; send dead letters again, or drop them",
        description="Look at the outbox, send dead letters again or drop them. Works beside a running relay.",
        epilog="Exit codes: 0 done, 1 an id is unknown, 2 wrong usage, 3 there is no outbox to be read.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    action = actions.add_parser("status", help="what waits, what is on its way, and what was given up")
    _add_data(action)

    action = actions.add_parser("list", help="the dead letters, or the events that wait")
    which = action.add_mutually_exclusive_group()
    which.add_argument("--waiting", action="store_true", help="instead, events that wait or are on their way")
    which.add_argument("--reason", default="", metavar="TEXT", help="those with this in their reason")
    action.add_argument(
        "--limit", type=_positive, default=_LIST_MAX, metavar="N", help="how many (default: %(default)s)"
    )
    _add_data(action)

    action = actions.add_parser("show", help="one dead letter or waiting event, whole")
    action.add_argument("id", metavar="ID", help=_ID)
    _add_data(action)

    action = actions.add_parser("retry", help="send dead letters again")
    _add_choice(action)

    action = actions.add_parser("drop", help="delete dead letters for good")
    _add_choice(action)
    action.add_argument("--yes", action="store_true", help="do not ask whether this is meant")
    return parser


def add_trace(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command and return its parser."""
    parser = commands.add_parser(
        "trace",
        help="what became of an event, by its id",
        description="Show what became of an event: where it waits, which execution it started, or why none.",
        epilog="Exit codes: 0 found, 1 unknown, 3 there is no outbox to be read.",
    )
    parser.add_argument("event_id", metavar="EVENT_ID")
    _add_data(parser)
    return parser


def _add_choice(action: argparse.ArgumentParser) -> None:
    action.add_argument("ids", nargs="*", metavar="ID", help=_ID)
    action.add_argument("--all", action="store_true", help="every dead letter that there is now")
    action.add_argument(
        "--reason", default="", metavar="TEXT", help="of all, those with this in their reason"
    )
    _add_data(action)


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="answer in JSON, with times in UTC")
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="where the outbox is (default: VOICE_RELAY_DATA_DIR, or ./data)",
    )


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) < 2**31:
        raise argparse.ArgumentTypeError("must be a whole number, 1 or more")
    return int(text)
