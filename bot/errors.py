"""Every error that the relay raises on purpose, named for what its catcher does about it.

RelayError
├── SettingsError             every bad setting at once; the process exits with 2
├── StartupError              the process cannot begin its work (token, intents, a port); it exits with 1
├── StoreError                the data directory or its file cannot be used; the process exits with 3
│   ├── StoreFullError        the file has its full size; let go of what is new, and declare it
│   └── StoreDamagedError     the file is no longer a database; set it aside and begin a new one
└── DeliveryError
    ├── TemporaryFailure      keep the batch, back off, send the same bytes again
    ├── Rejected              this batch will never be accepted as it is
    └── Unauthorized          keep everything, pause, say what is wrong
"""

from collections.abc import Sequence


class RelayError(Exception):
    """Base of all; its text is fit for a person and free of secrets."""


class SettingsError(RelayError):
    """One or more settings are missing or wrong; ``problems`` has a sentence for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class StartupError(RelayError):
    """Something outside the settings' reach keeps the relay from starting; retrying will not help."""


class StoreError(RelayError):
    """The outbox cannot be opened or written: unreadable file, newer schema, another owner, full disk."""


class StoreDamagedError(StoreError):
    """The file cannot be read as a database any more."""


class StoreFullError(StoreError):
    """The outbox has reached the size that it may have."""


class DeliveryError(RelayError):
    """A request to the API was not accepted.

    ``status`` is the HTTP status, or ``None`` where there was no response; ``code`` is the service's own
    error name (the part of ``__type`` after ``#``) or the transport's.
    """

    def __init__(self, message: str, *, status: int | None = None, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class TemporaryFailure(DeliveryError):
    """The same request may succeed later; ``retry_after_s`` is the service's own wish, if it named one."""

    def __init__(
        self, message: str, *, status: int | None = None, code: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, status=status, code=code)
        self.retry_after_s = retry_after_s


class Rejected(DeliveryError):
    """The same request will never succeed."""


class Unauthorized(DeliveryError):
    """The API refuses the caller: no credentials, a bad signature, a missing permission or a wrong clock."""
