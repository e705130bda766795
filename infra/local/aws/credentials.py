"""AWS credentials as plain values, the same on both sides of the process boundary."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Credentials:
    """An access key, long-lived or (with a session token) temporary; its secrets stay out of ``repr``."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
