"""The relay's errors, named for what their catcher does about them.

RelayError
├── SettingsError             report every bad setting; exit with 2
├── StartupError              the process cannot start (token, intents, port); exit with 1
├── StoreError                the outbox cannot be used; exit with 3
│   ├── StoreFullError        the file has reached its size limit: drop what is new and declare a gap
│   └── StoreDamagedError     the file is not a database any more: set it aside and start a new one
└── DeliveryError
    ├── TemporaryFailure      keep the batch, back off, send the same bytes again
    ├── Rejected              split the batch if no attempt can have been accepted; else dead letters
    └── Unauthorized          keep everything, pause, report the cause
"""

from collections.abc import Sequence


class RelayError(Exception):
    """Base of all; the message is for people and has no secret in it."""


class SettingsError(RelayError):
    """Settings are missing or wrong; ``problems`` has a sentence for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class StartupError(RelayError):
    """The relay cannot start for a reason beyond its settings; another attempt will not help."""


class StoreError(RelayError):
    """The outbox cannot be opened or written: unreadable file, newer schema, another process, full disk."""


class StoreDamagedError(StoreError):
    """The outbox file is not a readable database any more."""


class StoreFullError(StoreError):
    """The outbox file has reached its size limit."""


class DeliveryError(RelayError):
    """The API did not accept a request.

    ``status`` is the HTTP status, ``None`` without a response; ``code`` is the service's error code (the
    part of ``__type`` after ``#``) or the name of the transport's error.
    """

    def __init__(self, message: str, *, status: int | None = None, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class TemporaryFailure(DeliveryError):
    """The same request may succeed later; ``retry_after_s`` is the response's Retry-After, if it has one.

    ``outcome_unknown``: the request may have been accepted all the same, because its answer is missing or
    does not tell.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str = "",
        retry_after_s: float | None = None,
        outcome_unknown: bool = False,
    ) -> None:
        super().__init__(message, status=status, code=code)
        self.retry_after_s = retry_after_s
        self.outcome_unknown = outcome_unknown


class Rejected(DeliveryError):
    """The same request will never succeed."""


class Unauthorized(DeliveryError):
    """The API refuses the caller: no credentials, bad signature, missing permission or wrong clock."""
