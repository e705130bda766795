"""What can be asked about the routing rules, for the command line; other modules, slower to import, do it."""

import argparse
from pathlib import Path

from bot.cli.argument_values import snowflake


def add_rules(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command and return the parser of its one action."""
    actions = commands.add_parser("rules", help="look at the routing rules").add_subparsers(
        required=True, metavar="ACTION"
    )
    action = actions.add_parser(
        "check",
        help="check a file of rules, and see which of them an example event meets",
        description="Check a file of rules; with --event, see which of them an example event meets.",
        epilog="Exit codes: 0 the file is fine, and a rule decides where the event goes, or that it goes "
        "nowhere; 1 the event meets no rule; 2 the file, the event or a setting is wrong.",
    )
    action.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="default: VOICE_RELAY_RULES_FILE, or the built-in rules",
    )
    action.add_argument(
        "--event", metavar="FILE", help="a CloudEvent of the relay as JSON; - reads it from a pipe"
    )
    action.add_argument(
        "--role",
        action="append",
        default=[],
        type=snowflake,
        metavar="ID",
        help="of the person; can be repeated",
    )
    action.add_argument(
        "--category",
        action="append",
        default=[],
        type=snowflake,
        metavar="ID",
        help="of the event's channels; given twice, of the one moved to and of the one left",
    )
    action.add_argument("--afk", action="store_true", help="the event's channel is the guild's AFK channel")
    return action
