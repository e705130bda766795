"""Where messages can go: the names of the destinations, each of which has a key in the secret."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pydantic

from bot.errors import SettingsError
from infra.deploy.aws_errors import DeployError

DEFAULT_DESTINATION: Final = "default"
# Fifty integrations with a dynamic reference each; CloudFormation takes 60 references in a template.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html
MAX_DESTINATIONS: Final = 50

# As the template has it: CloudFormation makes ids of the names.
_NAME: Final = re.compile(r"[A-Za-z0-9]{1,16}")

FindWebhook = Callable[[str], pydantic.SecretStr | None]


def _unknown(_: str) -> None:
    """Know no webhook."""


@dataclass(frozen=True)
class DestinationChanges:
    """How the destinations are to change; what is not named stays.

    *webhooks* are put into the secret, and make destinations of their names. *added* names destinations whose
    webhook the secret has already, or that *find* is asked for. *renewed* asks *find* anew. *removed* go.
    """

    webhooks: Mapping[str, pydantic.SecretStr] = field(default_factory=dict)
    added: Sequence[str] = ()
    renewed: Sequence[str] = ()
    removed: Sequence[str] = ()
    find: FindWebhook = _unknown


@dataclass(frozen=True)
class Destinations:
    """The names after the deployment, in order, and the URLs that are to be written."""

    names: tuple[str, ...]
    given: Mapping[str, str] = field(repr=False)


def choose_destinations(
    wishes: DestinationChanges, *, present: Sequence[str], held: Collection[str]
) -> Destinations:
    """Put the wishes and the *present* destinations together; *held* are the keys of the secret.

    Without one that is present there is no relay yet, and it gets one called default. With nothing changed
    yet, raises SettingsError where a name cannot be one or is unknown, DeployError where one has no webhook.
    """
    first = present or (DEFAULT_DESTINATION,)
    _check_known(wishes.renewed, {*present, *wishes.webhooks, *wishes.added}, present)
    _check_known(wishes.removed, {*first, *held}, present)
    wanted = [*first, *wishes.webhooks, *wishes.added, *wishes.renewed]
    names = tuple(name for name in dict.fromkeys(wanted) if name not in wishes.removed)
    _check_names(names)
    given = {name: url.get_secret_value() for name, url in wishes.webhooks.items()}
    for name in names:
        if name not in given and (name not in held or name in wishes.renewed):
            url = wishes.find(name)
            if url is None:
                raise DeployError(_explain_lack(name, renewed=name in wishes.renewed))
            given[name] = url.get_secret_value()
    return Destinations(names, given)


def parse_names(value: str) -> tuple[str, ...]:
    """Return the names in the template's parameter, a list with commas."""
    return tuple(name for name in (part.strip() for part in value.split(",")) if name)


def _check_known(names: Sequence[str], known: Collection[str], present: Sequence[str]) -> None:
    there = f"the stack has {', '.join(present)}" if present else "there is no relay yet"
    problems = [f"there is no destination {name}; {there}" for name in names if name not in known]
    if problems:
        raise SettingsError(problems)


def _explain_lack(name: str, *, renewed: bool) -> str:
    if renewed:
        return f"the new webhook of {name} is needed: --webhook-file {name}=FILE, or a terminal"
    setting = ", in VOICE_RELAY_WEBHOOK_URL" if name == DEFAULT_DESTINATION else ""
    return (
        f"destination {name} has no webhook: give it one with --webhook-file {name}=FILE{setting}, or at a "
        "terminal, where it is asked for"
    )


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise SettingsError(["there has to be a destination: the last one cannot be removed"])
    if len(names) > MAX_DESTINATIONS:
        problem = f"{len(names)} destinations are too many: a stack has up to {MAX_DESTINATIONS}"
        raise SettingsError([problem])
    problems = [
        f"{name!r} cannot be a destination's name: it takes 1 to 16 letters and digits"
        for name in names
        if not _NAME.fullmatch(name)
    ]
    if problems:
        raise SettingsError(problems)
