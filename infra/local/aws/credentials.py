"""AWS credentials as plain values, shared by the parent and the child process."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Credentials:
    """An access key, long-lived or (with a session token) temporary; ``repr`` omits its secrets."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
