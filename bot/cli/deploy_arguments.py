"""What can be asked about deployments, for the command line; other modules, slower to import, do it."""

import argparse
from pathlib import Path
from typing import Final

KINDS: Final = ("relay", "monitoring", "service", "github-oidc")
_RELAY_STACK: Final = "voice-relay"


def add_deploy(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command and return its parser."""
    parser = commands.add_parser(
        "deploy",
        help="create or update the relay, or what goes with it, in an AWS account",
        description="Create or update a stack in an AWS account: show what would change, ask, change it, and "
        "write the relay's endpoint to .env. Webhook URLs go straight into Secrets Manager.",
        epilog="The first time, the webhook of the destination default is VOICE_RELAY_WEBHOOK_URL, or is "
        "asked for. Exit codes: 0 done, or nothing to change; 1 failed, or declined; 2 wrong usage or "
        "settings; 130 interrupted.",
    )
    _add_stack(parser)
    parser.add_argument(
        "--parameter",
        action="append",
        default=[],
        type=_pair,
        metavar="KEY=VALUE",
        help="of the template; what is not named keeps its value; can be repeated",
    )
    parser.add_argument("--bucket", metavar="NAME", help="for a template too large for a request")
    parser.add_argument(
        "--role-arn", metavar="ARN", help="the role that CloudFormation makes the changes as, instead of you"
    )
    group = parser.add_argument_group("destinations of the relay")
    for name, text in (
        ("destination", "a destination to have; its webhook is asked for if the secret has none"),
        ("renew-webhook", "a destination whose webhook is asked for anew"),
        ("remove-destination", "a destination to remove, and its webhook from the secret"),
    ):
        group.add_argument(
            f"--{name}", action="append", default=[], metavar="NAME", help=f"{text}; can be repeated"
        )
    group.add_argument(
        "--webhook-file",
        action="append",
        default=[],
        type=_named_path,
        metavar="[NAME=]FILE",
        help="a file with nothing but the webhook's URL, - for a pipe; NAME is default unless given",
    )
    group = parser.add_argument_group("what the bot needs")
    _add_env_file(group)
    group.add_argument(
        "--create-access-key",
        action="store_true",
        help="have an IAM user for the bot, and write an access key of it to .env unless one is there",
    )
    group.add_argument(
        "--rotate-access-key", action="store_true", help="the same with a new key; the old one is deleted"
    )
    _add_yes(parser)
    parser.add_argument(
        "--wait",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="watch until it is done (default); without, .env is left alone",
    )
    return parser


def add_destroy(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command and return its parser."""
    parser = commands.add_parser(
        "destroy",
        help="delete a stack from an AWS account",
        description="Show what a stack consists of, ask, and delete it: with the relay's, its secret and the "
        "access keys of its user. Nothing is changed in .env.",
        epilog="Exit codes: 0 gone; 1 failed, or declined; 2 wrong usage or settings; 130 interrupted.",
    )
    _add_stack(parser)
    parser.add_argument("--keep-secret", action="store_true", help="keep the secret with the webhooks")
    _add_env_file(parser)
    _add_yes(parser)
    return parser


def add_outputs(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command and return its parser."""
    parser = commands.add_parser(
        "outputs",
        help="what a stack says of itself: its endpoint, policies, workflows, logs",
        description="Show the outputs of a stack.",
        epilog="Exit codes: 0 shown, 1 there is no such stack, 2 wrong usage or settings.",
    )
    _add_stack(parser)
    _add_env_file(parser)
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    return parser


def _add_stack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kind",
        nargs="?",
        choices=KINDS,
        default=KINDS[0],
        metavar="TEMPLATE",
        help=f"{', '.join(KINDS)} (default: {KINDS[0]})",
    )
    parser.add_argument(
        "--stack-name",
        metavar="NAME",
        help=f"default: {_RELAY_STACK}, or for another template {_RELAY_STACK}-monitoring and the like",
    )
    parser.add_argument(
        "--relay-stack",
        default=_RELAY_STACK,
        metavar="NAME",
        help="the relay's stack, which the other templates belong to (default: %(default)s)",
    )
    parser.add_argument("--region", help="default: AWS's own settings, or those of the bot in .env")
    parser.add_argument("--profile", help="of AWS's own settings")


def _add_env_file(parser: argparse._ActionsContainer) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--env-file",
        type=Path,
        default=Path(".env"),
        metavar="FILE",
        help="the bot's settings (default: %(default)s)",
    )
    which.add_argument("--no-env", action="store_true", help="neither read nor write such a file")


def _add_yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask whether this is meant")


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError("must be KEY=VALUE")
    return key, value


def _named_path(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if equals and not (name and path):
        raise argparse.ArgumentTypeError("must be NAME=FILE, or FILE alone")
    return (name, path) if equals else ("default", text)
