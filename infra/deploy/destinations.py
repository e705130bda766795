"""Destinations: the names of where messages can go, each a key in the webhook secret."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pydantic

from bot.errors import SettingsError
from infra.deploy.aws_errors import DeployError

DEFAULT_DESTINATION: Final = "default"
# One integration and one dynamic reference each; CloudFormation allows 60 references per template.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html
MAX_DESTINATIONS: Final = 50

# The template's own pattern: CloudFormation builds logical ids from the names.
_NAME: Final = re.compile(r"[A-Za-z0-9]{1,16}")

FindWebhook = Callable[[str], pydantic.SecretStr | None]


def _find_none(_: str) -> None:
    """Find no webhook."""


@dataclass(frozen=True)
class DestinationChanges:
    """Requested changes; destinations not named here stay as they are.

    *webhooks* go into the secret and become destinations. *added* lists destinations whose webhook is in the
    secret or comes from *find*. *renewed* ones get a new webhook from *find*. *removed* ones are deleted.
    """

    webhooks: Mapping[str, pydantic.SecretStr] = field(default_factory=dict)
    added: Sequence[str] = ()
    renewed: Sequence[str] = ()
    removed: Sequence[str] = ()
    find: FindWebhook = _find_none


@dataclass(frozen=True)
class Destinations:
    """The names after the deployment, in order, and the URLs to write."""

    names: tuple[str, ...]
    given: Mapping[str, str] = field(repr=False)


def choose_destinations(
    changes: DestinationChanges, *, present: Sequence[str], held: Collection[str]
) -> Destinations:
    """Apply *changes* to the *present* destinations; *held* are the keys of the secret.

    A new relay, with none present, gets one called default. Raises SettingsError for an invalid or unknown
    name, DeployError for a destination without a webhook.
    """
    first = present or (DEFAULT_DESTINATION,)
    _check_known(changes.renewed, {*present, *changes.webhooks, *changes.added}, present)
    _check_known(changes.removed, {*first, *held}, present)
    wanted = [*first, *changes.webhooks, *changes.added, *changes.renewed]
    names = tuple(name for name in dict.fromkeys(wanted) if name not in changes.removed)
    _check_names(names)
    given = {name: url.get_secret_value() for name, url in changes.webhooks.items()}
    for name in names:
        if name not in given and (name not in held or name in changes.renewed):
            url = changes.find(name)
            if url is None:
                raise DeployError(_explain_missing(name, renewed=name in changes.renewed))
            given[name] = url.get_secret_value()
    return Destinations(names, given)


def parse_names(value: str) -> tuple[str, ...]:
    """Parse the template's parameter, a comma-separated list."""
    return tuple(name for name in (part.strip() for part in value.split(",")) if name)


def _check_known(names: Sequence[str], known: Collection[str], present: Sequence[str]) -> None:
    there = f"the stack has {', '.join(present)}" if present else "the relay is not deployed yet"
    problems = [f"there is no destination {name}; {there}" for name in names if name not in known]
    if problems:
        raise SettingsError(problems)


def _explain_missing(name: str, *, renewed: bool) -> str:
    if renewed:
        return f"{name} needs its new webhook: pass --webhook-file {name}=FILE, or run this in a terminal"
    setting = ", set VOICE_RELAY_WEBHOOK_URL" if name == DEFAULT_DESTINATION else ""
    return (
        f"destination {name} has no webhook: pass --webhook-file {name}=FILE{setting}, or run this in a "
        "terminal and enter it"
    )


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise SettingsError(["the last destination cannot be removed"])
    if len(names) > MAX_DESTINATIONS:
        problem = f"{len(names)} destinations are too many: a stack can have {MAX_DESTINATIONS}"
        raise SettingsError([problem])
    problems = [
        f"{name!r} is not a valid destination name: use 1 to 16 letters and digits"
        for name in names
        if not _NAME.fullmatch(name)
    ]
    if problems:
        raise SettingsError(problems)
