"""What a connection knows of an API's caller: which credentials each kind takes, and the secret with them.

The secret is written after the review and before the change, under a version id that the change set names. No
template, parameter, event or error contains a credential.
"""

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pydantic

from infra.deploy.aws_errors import DeployError, explained

Credentials = Mapping[str, pydantic.SecretStr]

# Kind of authorisation -> the secret's keys and what they are called in a question.
KINDS: Final[Mapping[str, Mapping[str, str]]] = {
    "none": {},
    "api-key": {"key": "API key"},
    "basic": {"username": "User name", "password": "Password"},
    "oauth": {"client_id": "Client id", "client_secret": "Client secret"},
    "login": {"username": "User name", "password": "Password"},
}
_MASK: Final = "…"
# Shorter values, such as a user name, would mask ordinary words.
_MASKED_CHARS: Final = 6


@dataclass(frozen=True)
class HeldCredentials:
    """What the secret *name* holds; ``version`` is ``None`` if there is no secret."""

    name: str
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    version: str | None = None

    def suits(self, auth: str) -> bool:
        """Say whether it has what this kind of authorisation takes."""
        return KINDS[auth].keys() <= self.values.keys()


def secret_name(stack_name: str) -> str:
    return f"{stack_name}/credentials"


def load_credentials(secrets: Any, name: str) -> HeldCredentials:
    """Read the secret *name*; a missing one is empty."""
    with explained(f"could not read secret {name}"):
        try:
            held = secrets.get_secret_value(SecretId=name)
        except secrets.exceptions.ResourceNotFoundException:
            return HeldCredentials(name)
    try:
        values = json.loads(held.get("SecretString") or "")
    except ValueError:
        values = None
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise DeployError(f"secret {name} does not hold credentials: delete it, or name the stack otherwise")
    return HeldCredentials(name, values, held["VersionId"])


def write_credentials(secrets: Any, held: HeldCredentials, given: Credentials, version: str) -> None:
    """Write *given* as this *version* of the secret; raises DeployError."""
    document = json.dumps({name: value.get_secret_value() for name, value in given.items()})
    with explained(f"could not store the credentials in secret {held.name}"):
        if held.version is None:
            # Empty, so that the first version gets the planned id.
            secrets.create_secret(Name=held.name, Description="Credentials for a connection of Voice Relay.")
        secrets.put_secret_value(SecretId=held.name, SecretString=document, ClientRequestToken=version)


def is_credential(value: object) -> bool:
    # https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_CreateConnection.html
    return isinstance(value, str) and 0 < len(value) <= 512 and value.isprintable()


def new_version() -> str:
    return str(uuid.uuid4())


def mask(text: str, values: Iterable[str]) -> str:
    """Mask the credentials *values* in *text*: a service may quote what it rejects."""
    for value in values:
        if len(value) >= _MASKED_CHARS:
            text = text.replace(value, _MASK)
    return text
