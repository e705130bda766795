"""The options of ``voice-relay deploy`` for the relay's own stack: destinations, and the bot's access key."""

from typing import Final

from bot.cli.parser import CommandParser, named_path

ONLY_RELAY: Final = (
    *("destination", "renew_webhook", "remove_destination", "webhook_file"),
    *("create_access_key", "rotate_access_key"),
)


def add_destination_arguments(parser: CommandParser) -> None:
    group = parser.add_argument_group("destinations of the relay")
    for name, text in (
        ("destination", "add a destination; asks for its webhook unless the secret has it"),
        ("renew-webhook", "ask for a new webhook of this destination"),
        ("remove-destination", "remove a destination, and its webhook from the secret"),
    ):
        group.add_argument(
            f"--{name}", action="append", default=[], metavar="NAME", help=f"{text}; repeatable"
        )
    group.add_argument(
        "--webhook-file",
        action="append",
        default=[],
        type=named_path,
        metavar="[NAME=]FILE",
        help="a file with nothing but the webhook's URL, - for a pipe; NAME defaults to default; repeatable",
    )


def add_access_key_arguments(parser: CommandParser) -> None:
    group = parser.add_argument_group("access key of the bot")
    group.add_argument(
        "--create-access-key",
        action="store_true",
        help="make an IAM user for the bot, and write an access key to .env unless it has one",
    )
    group.add_argument(
        "--rotate-access-key",
        action="store_true",
        help="write a new access key to .env, and delete the old one",
    )
