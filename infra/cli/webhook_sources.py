"""Where a webhook's URL comes from: a file, a pipe, the setting or a question. Never the command line itself.

The shell's history keeps what is on the command line, and the list of processes shows it.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pydantic

from bot.console import Console
from bot.errors import SettingsError
from bot.settings.settings import load_webhook_url
from bot.settings.values import check_endpoint
from bot.text import escape
from infra.deploy.destinations import DEFAULT_DESTINATION, FindWebhook
from infra.deploy.engine import DeclinedError

_WANTED: Final = (
    "must be an https URL like https://discord.com/api/webhooks/<id>/<token>, without a query: copy it from "
    "the channel's settings, under Integrations (a link to the channel is not a webhook)"
)
_WEBHOOK: Final = re.compile(r"(?:/.+)?/api(?:/v\d+)?/webhooks/\d+/[\w-]+", re.ASCII)
_ATTEMPTS: Final = 3


def read_webhook_files(
    files: Iterable[tuple[str, str]], console: Console
) -> Mapping[str, pydantic.SecretStr]:
    """Return the URL in each of the *files*, by destination; raises SettingsError with every problem."""
    found: dict[str, pydantic.SecretStr] = {}
    problems: list[str] = []
    for name, path in files:
        try:
            text = console.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        except OSError as error:
            problems.append(f"{path} cannot be read: {error.strerror}")
            continue
        except UnicodeDecodeError:
            problems.append(f"{path} is not text in UTF-8: it must contain only the webhook's URL")
            continue
        url = _check(text)
        if url is None:
            problems.append(f"the webhook of {escape(name)} {_WANTED}")
        elif name in found:
            problems.append(f"two files have a webhook of {escape(name)}: give one")
        else:
            found[name] = url
    if problems:
        raise SettingsError(problems)
    return found


def find_webhook(console: Console, *, env_file: Path | None, renewed: Iterable[str]) -> FindWebhook:
    """Return a function that finds the webhook of a destination without one; it asks for those *renewed*."""
    asked = frozenset(renewed)

    def find(name: str) -> pydantic.SecretStr | None:
        if name == DEFAULT_DESTINATION and name not in asked:
            url = load_webhook_url(env_file=env_file)
            if url is not None:
                return url
        return _ask(console, name) if console.can_ask else None

    return find


def _ask(console: Console, name: str) -> pydantic.SecretStr | None:
    for _ in range(_ATTEMPTS):
        text = console.ask_secret(
            f"Webhook URL of the destination {name} (not shown): ", otherwise="nothing was changed"
        )
        if text is None or not text.strip():
            raise DeclinedError(f"no webhook of the destination {name} was given: nothing was changed")
        url = _check(text)
        if url is not None:
            return url
        console.hint(f"a webhook {_WANTED}")
    return None


def _check(text: str) -> pydantic.SecretStr | None:
    try:
        url = check_endpoint(text)
    except ValueError:
        return None
    # The host may also be a stand-in, or a proxy in front of Discord.
    return pydantic.SecretStr(url) if url and _WEBHOOK.fullmatch(urlsplit(url).path) else None
