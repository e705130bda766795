"""Where executions are started, and as whom."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from botocore.credentials import ReadOnlyCredentials


@dataclass(frozen=True, slots=True)
class Target:
    """The ingress API's base URL, the region that requests are signed for, and who signs them."""

    endpoint: str
    region: str
    credentials: Callable[[], Awaitable[ReadOnlyCredentials]]
