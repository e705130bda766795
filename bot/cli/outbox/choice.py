"""Which dead letters are meant: some by id, or all, or all with a certain reason."""

from dataclasses import dataclass
from typing import Final

from bot.cli.parser import Arguments, CommandParser
from bot.errors import SettingsError
from bot.outbox.inspection import Inspection
from bot.outbox.records import Chosen

ID_HELP: Final = "the number of a dead letter in the list, or the id of an event"


@dataclass(frozen=True, slots=True)
class Choice:
    """Without ``ids``, every dead letter that has ``reason`` in its reason."""

    ids: tuple[str, ...] = ()
    reason: str = ""


def add_choice(parser: CommandParser) -> None:
    parser.add_argument("ids", nargs="*", metavar="ID", help=ID_HELP)
    parser.add_argument("--all", action="store_true", help="every dead letter that there is now")
    parser.add_argument(
        "--reason", default="", metavar="TEXT", help="with --all: only those with this text in their reason"
    )


def read_choice(arguments: Arguments) -> Choice:
    if bool(arguments.ids) == arguments.all:
        raise SettingsError(["which dead letters? Give either their ids or --all"])
    if arguments.reason and not arguments.all:
        raise SettingsError(["--reason filters all dead letters: give --all instead of ids"])
    return Choice(tuple(arguments.ids), arguments.reason)


def choose(inspection: Inspection, choice: Choice) -> Chosen:
    return inspection.choose(choice.ids) if choice.ids else inspection.choose_all(choice.reason)


def name_unknown(chosen: Chosen) -> list[str]:
    """Return a sentence for each id that no dead letter has."""
    return [f"there is no dead letter {name}" for name in chosen.unknown]
