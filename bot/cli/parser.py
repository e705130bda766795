"""The parser of the command line, which loads a command's module only once the command is named.

The list of commands is in ``main``. Every module together takes half a second to import, and ``voice-relay
--help`` needs none of them.
"""

import argparse
import importlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn, Protocol, cast

from bot.console import Console
from bot.text import escape, shorten

Arguments = argparse.Namespace
"""What was typed; each command turns it into options of its own."""

_MESSAGE_MAX_CHARS: Final = 1000

RENAMED: Final[Mapping[str, str]] = {"retry": "redrive"}
"""Former names of commands, which look nothing like the present ones."""


class Command(NamedTuple):
    """A command, implemented by a ``CommandModule``, and its line in the list of commands."""

    name: str
    module: str
    help: str


class CommandGroup(NamedTuple):
    """A command that only groups others."""

    name: str
    help: str
    commands: tuple[Command, ...]


class CommandModule(Protocol):
    """What the module of a command has."""

    def add_arguments(self, parser: "CommandParser") -> None:
        """Describe the command and its arguments."""

    def read_options(self, arguments: Arguments) -> Any:
        """Return the options in a frozen dataclass; raises SettingsError if they contradict each other."""

    def run(self, options: Any, console: Console) -> int:
        """Carry the command out and return its exit code; raises RelayError."""


class CommandParser(argparse.ArgumentParser):
    """After a slip, shows the usage of the command in question and suggests the nearest name."""

    def __init__(self, *args: Any, module: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._module = module
        self._late: str | None = None
        # The type of every argument that names none.
        self.register("type", None, plain)

    def add_commands(self, commands: Iterable[Command | CommandGroup], *, metavar: str) -> None:
        """Add commands; each sets ``arguments.command`` to its module."""
        added = self.add_subparsers(required=True, metavar=metavar)
        # It is handed the command's arguments too, whose own types check them.
        added.type = str
        for command in commands:
            if isinstance(command, Command):
                added.add_parser(command.name, help=command.help, module=command.module)
            else:
                group = added.add_parser(
                    command.name,
                    help=command.help,
                    description=f"{command.help[0].upper()}{command.help[1:]}.",
                )
                group.add_commands(command.commands, metavar="ACTION")

    def add_json(self) -> None:
        self.add_argument("--json", action="store_true", help="print JSON, with times in UTC")

    def take_late(self, name: str) -> None:
        """Let the optional positional *name* also follow options that stand behind the one before it.

        argparse assigns both at the first of the two, until Python 3.12.
        """
        # https://github.com/python/cpython/issues/59317
        self._late = name

    # argparse passes arguments that a command does not know up to the main parser, which would then show the
    # wrong usage.
    def parse_known_args(  # type: ignore[override]  # one signature stands for its overloads
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        if self._module is not None:
            self._load(self._module)
        found, unknown = super().parse_known_args(args, namespace)
        if self._late and unknown and not unknown[0].startswith("-") and getattr(found, self._late) is None:
            setattr(found, self._late, plain(unknown.pop(0)))
        if unknown:
            guesses = (self._guess(each) for each in unknown if each.startswith("--"))
            self.error(f"unrecognized arguments: {' '.join(unknown)}{''.join(guesses)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Print *message*, in which what was typed cannot control the terminal, and exit."""
        super().error(escape(shorten(message, _MESSAGE_MAX_CHARS)))

    def _load(self, module: str) -> None:
        command = cast("CommandModule", importlib.import_module(module))
        command.add_arguments(self)
        self.set_defaults(command=command)
        self._module = None

    def _guess(self, option: str) -> str:
        return _did_you_mean(option.partition("=")[0], self._option_string_actions)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            guess = _did_you_mean(str(value), map(str, action.choices or ()))
            raise argparse.ArgumentError(action, f"{error.message}{guess}") from None


def plain(text: str) -> str:
    """Return *text* if it can be stored and sent: what was typed may be bytes that are no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("must be text in UTF-8") from None
    return text


def snowflake(text: str) -> str:
    """Return *text* if it is an id of Discord's."""
    from bot.voice.payloads import parse_id

    if parse_id(text) is None:
        raise argparse.ArgumentTypeError("must be an id: up to 20 digits")
    return text


def seconds(text: str) -> float:
    """Return a length of time that is neither zero nor endless."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError("must be a number of seconds, more than 0")
    return value


def positive(text: str) -> int:
    """Return a whole number that SQLite can count up to."""
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) < 2**31:
        raise argparse.ArgumentTypeError("must be a whole number, 1 or more")
    return int(text)


def key_value(text: str) -> tuple[str, str]:
    """Split ``KEY=VALUE``."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError("must be KEY=VALUE")
    return key, value


def named_path(text: str) -> tuple[str, str]:
    """Split ``[NAME=]FILE``; the name is ``default`` unless it is given."""
    name, equals, path = text.partition("=")
    if equals and not (name and path):
        raise argparse.ArgumentTypeError("must be NAME=FILE, or FILE alone")
    return (name, path) if equals else ("default", text)


def _did_you_mean(given: str, known: Iterable[str]) -> str:
    import difflib

    names = list(known)
    if RENAMED.get(given) in names:
        return f"; it is now called {RENAMED[given]}"
    nearest = difflib.get_close_matches(given, names, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""
