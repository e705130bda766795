"""The file with the APIs that workflows call in single-machine mode: TOML, a table for each workflow.

    [report]                                        # the workflow
    url = "https://crm.example.org/api/voice"
    auth = "login"                                  # or none, api-key, basic, oauth
    token_url = "https://crm.example.org/login"
    token_field = "data.token"
    username = "voice-relay"                        # the credentials of this kind of auth
    password = "…"

The keys are the parameters of ``connection.yaml`` in lower case, and the credentials that ``deploy
connection`` asks for. No problem repeats a value: it may be a credential under the wrong key.
"""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pydantic

from bot.errors import SettingsError
from bot.small_file import read_small
from infra.deploy.credentials import KINDS, Credentials, is_credential

VARIABLE: Final = "VOICE_RELAY_CONNECTIONS_FILE"
_MAX_BYTES: Final = 16 << 10
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PARAMETERS: Final[Mapping[str, str]] = {
    "url": "Url",
    "auth": "Auth",
    "token_url": "TokenUrl",
    "key_header": "KeyHeader",
    "key_prefix": "KeyPrefix",
    "scope": "Scope",
    "login_encoding": "LoginEncoding",
    "user_field": "UserField",
    "password_field": "PasswordField",
    "token_field": "TokenField",
}
_URLS: Final = frozenset({"url", "token_url"})
# As the template wants them; without TLS only on this machine.
_URL: Final = re.compile(r"(https://[^/?#@\s']+|http://127\.0\.0\.1:[0-9]+)(/[^?#\s']*)?")
_WITH_TOKEN_URL: Final = frozenset({"oauth", "login"})


@dataclass(frozen=True)
class Connection:
    """How a workflow calls an API: the template's parameters, and the credentials of its kind of auth."""

    parameters: Mapping[str, str]
    credentials: Credentials


def load_connections(path: Path | None) -> dict[str, Connection]:
    """Return the connections in the file *path* by workflow; raises SettingsError with every problem."""
    if path is None:
        return {}
    where = f"{VARIABLE}: {path}"
    document = _read(path, where)
    problems = [
        f"{where}: {_place(name, table)}{problem}"
        for name, table in document.items()
        for problem in _find_problems(table)
    ]
    if problems:
        raise SettingsError(problems)
    return {name: _build(table) for name, table in document.items()}


def _read(path: Path, where: str) -> dict[str, Any]:
    try:
        # Some editors write a byte order mark, which TOML does not allow.
        return tomllib.loads(read_small(path, _MAX_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise SettingsError([f"{where} cannot be read ({error.strerror}): check the path"]) from error
    except UnicodeDecodeError:
        raise SettingsError([f"{where} is not UTF-8 text: save it as UTF-8"]) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"{where} is not valid TOML: {error}"]) from None
    except RecursionError:
        raise SettingsError([f"{where} is not valid TOML: brackets are nested too deep"]) from None


def _place(name: str, table: Any) -> str:
    # Any other name may be a credential that was pasted without its key.
    return f"[{name}]: " if isinstance(table, dict) and _NAME.fullmatch(name) else ""


def _find_problems(table: Any) -> Iterator[str]:
    if not isinstance(table, dict):
        yield "a key stands outside a table: begin one with the workflow's name in brackets, like [report]"
        return
    auth = table.get("auth")
    if not isinstance(auth, str) or auth not in KINDS:
        yield f"auth says how the API knows its caller: one of {', '.join(KINDS)}, in quotes"
        return
    if "url" not in table:
        yield "url is missing: it is what the workflow calls"
    if auth in _WITH_TOKEN_URL and "token_url" not in table:
        yield f"token_url is missing: it is where the API gives out tokens ({auth})"
    wanted = KINDS[auth]
    for name in (name for name in wanted if name not in table):
        yield f"{name} is missing: {auth} takes {' and '.join(wanted)}"
    for name, value in table.items():
        if name in wanted:
            if not is_credential(value):
                yield f"{name} must be a text of 1 to 512 printable characters, in quotes"
        elif name not in _PARAMETERS:
            yield _explain_unknown(name, auth)
        elif not isinstance(value, str):
            yield f"{name} must be a text, in quotes"
        elif name in _URLS and not _URL.fullmatch(value):
            yield (
                f"{name} must be an https URL without query and user; plain http is allowed only to "
                "127.0.0.1, with a port"
            )


def _explain_unknown(name: str, auth: str) -> str:
    if kinds := [kind for kind, wanted in KINDS.items() if name in wanted]:
        return f'auth = "{auth}" takes no {name}: remove it, or choose {" or ".join(kinds)}'
    known = [*_PARAMETERS, *KINDS[auth]]
    near = difflib.get_close_matches(name, known, n=1)
    return f"unknown key: did you mean {near[0]}?" if near else f"unknown key: there are {', '.join(known)}"


def _build(table: Mapping[str, str]) -> Connection:
    parameters = {_PARAMETERS[name]: value for name, value in table.items() if name in _PARAMETERS}
    return Connection(
        parameters={**parameters, "Url": parameters["Url"].rstrip("/")},
        credentials={name: pydantic.SecretStr(table[name]) for name in KINDS[table["auth"]]},
    )
