"""The options of ``voice-relay deploy connection``, and where its credentials come from.

Credentials come from a file, a pipe or a hidden question, never from the command line: the shell's history
keeps it, and the list of processes shows it.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pydantic

from bot.cli.parser import Arguments, CommandParser
from bot.console import Console
from bot.errors import SettingsError
from infra.deploy.connection_stack import FindCredentials
from infra.deploy.credentials import KINDS, Credentials, is_credential
from infra.deploy.engine import DeclinedError

ONLY_CONNECTION: Final = ("url", "auth", "token_url", "key_header", "credentials_file", "renew_credentials")
_PARAMETERS: Final[Mapping[str, str]] = {
    "url": "Url",
    "auth": "Auth",
    "token_url": "TokenUrl",
    "key_header": "KeyHeader",
}


@dataclass(frozen=True)
class ConnectionOptions:
    """``parameters`` are those of the template that have an option of their own."""

    parameters: Mapping[str, str]
    credentials_file: str | None
    renew: bool


def add_connection_arguments(parser: CommandParser) -> None:
    group = parser.add_argument_group("a connection to the API of a third party")
    group.add_argument("--url", help="what workflows call through it; not a secret, policies show it")
    group.add_argument(
        "--auth",
        choices=tuple(KINDS),
        metavar="KIND",
        help=f"how the API knows its caller: {', '.join(KINDS)}",
    )
    group.add_argument("--token-url", metavar="URL", help="where the API gives out tokens (oauth, login)")
    group.add_argument(
        "--key-header", metavar="NAME", help="header with the key or the token (default: Authorization)"
    )
    group.add_argument(
        "--credentials-file",
        metavar="FILE",
        help="the credentials as JSON, - for a pipe; otherwise they are asked for",
    )
    group.add_argument("--renew-credentials", action="store_true", help="replace the stored ones, if any")


def read_connection(arguments: Arguments) -> ConnectionOptions:
    """Return the options; raises SettingsError."""
    given = {
        parameter: value
        for option, parameter in _PARAMETERS.items()
        if (value := getattr(arguments, option)) is not None
    }
    if twice := sorted(given.keys() & dict(arguments.parameter).keys()):
        raise SettingsError([f"{name} is given twice: leave out --parameter {name}=..." for name in twice])
    if "Url" in given:
        given["Url"] = given["Url"].rstrip("/")
    return ConnectionOptions(
        parameters={**given, **dict(arguments.parameter)},
        credentials_file=arguments.credentials_file,
        renew=arguments.renew_credentials or arguments.credentials_file is not None,
    )


def find_credentials(options: ConnectionOptions, console: Console) -> FindCredentials:
    """Return a function that reads the credentials of a kind from the file, or asks for them."""

    def find(auth: str) -> Credentials | None:
        if options.credentials_file is not None:
            return _read_file(options.credentials_file, auth, console)
        return dict(_ask(auth, console)) if console.can_ask else None

    return find


def _read_file(path: str, auth: str, console: Console) -> Credentials:
    wanted = KINDS[auth]
    try:
        text = console.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError([f"{path} cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError:
        raise SettingsError([f"{path} is not text in UTF-8: save it as UTF-8"]) from None
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if (
        not isinstance(found, dict)
        or found.keys() != wanted.keys()
        or not all(map(is_credential, found.values()))
    ):
        example = json.dumps(dict.fromkeys(wanted, "…"), ensure_ascii=False)
        raise SettingsError(
            [f"{path} does not hold the credentials for {auth}: it must be JSON like {example}"]
        )
    return {name: pydantic.SecretStr(value) for name, value in found.items()}


def _ask(auth: str, console: Console) -> Iterator[tuple[str, pydantic.SecretStr]]:
    for name, title in KINDS[auth].items():
        text = console.ask_secret(f"{title} for the API (not shown): ", otherwise="nothing was changed")
        if text is None or not is_credential(text.strip()):
            raise DeclinedError(f"no {title.lower()} was given: nothing was changed")
        yield name, pydantic.SecretStr(text.strip())
