"""Where executions are started, and as whom."""

from dataclasses import dataclass
from typing import Protocol

from botocore.credentials import ReadOnlyCredentials


class SigningCredentials(Protocol):
    """Whose name requests are signed with."""

    async def get(self) -> ReadOnlyCredentials:
        """Return one consistent set that is good now, or raise a DeliveryError with the remedy."""

    def forget(self) -> None:
        """Look for others the next time: the API refused these."""


class FixedCredentials:
    """Credentials that are given and stay."""

    def __init__(self, credentials: ReadOnlyCredentials) -> None:
        self._credentials = credentials

    async def get(self) -> ReadOnlyCredentials:
        return self._credentials

    def forget(self) -> None:
        """There are no others."""


@dataclass(frozen=True, slots=True)
class Target:
    """The ingress API's base URL, the region that requests are signed for, and who signs them."""

    endpoint: str
    region: str
    credentials: SigningCredentials
