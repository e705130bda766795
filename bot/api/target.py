"""What a client of the ingress API needs to know: where the API is, and how to sign for it."""

from dataclasses import dataclass
from typing import Protocol

from botocore.credentials import ReadOnlyCredentials


class CredentialsProvider(Protocol):
    """Provides the credentials that requests are signed with."""

    async def get(self) -> ReadOnlyCredentials:
        """Return credentials that are valid now; raises a DeliveryError that states the remedy."""

    def forget(self) -> None:
        """Drop what is cached, because the API refused it."""


class FixedCredentials:
    """Provides the credentials that it was given."""

    def __init__(self, credentials: ReadOnlyCredentials) -> None:
        self._credentials = credentials

    async def get(self) -> ReadOnlyCredentials:
        return self._credentials

    def forget(self) -> None:
        """Do nothing: there are no others."""


@dataclass(frozen=True, slots=True)
class Target:
    """The API's base URL, the region to sign for, and the credentials to sign with.

    ``states_url`` and ``activity_arn`` are Step Functions' address and the activity in single-machine mode.
    """

    endpoint: str
    region: str
    credentials: CredentialsProvider
    states_url: str | None = None
    activity_arn: str | None = None
