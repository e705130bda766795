"""Batches, and what becomes of them: the data that the outbox and the dispatcher exchange."""

from dataclasses import dataclass, field

from bot.routing.lane import Lane


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that start one execution together: the same name and the same bytes at every attempt.

    ``sent_before``: an earlier process may have sent it, and what became of that is unknown. From
    ``expires_ms`` on, all of its events are too old to be sent again.
    """

    lane_id: int
    lane: Lane
    execution: str
    body: bytes
    event_ids: tuple[str, ...]
    created_ms: int
    sent_before: bool = field(default=False, compare=False)
    expires_ms: int = field(default=2**63 - 1, compare=False)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The API accepted the batch; ``arn`` is the execution that it started."""

    batch: Batch
    arn: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The API will never accept the batch. ``reason`` is fit for a person and holds no secret.

    ``split``: nothing of it was accepted, so that its events go again, half as many at a time; otherwise
    they become dead letters.
    """

    batch: Batch
    reason: str
    split: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt failed and will be repeated; ``attempts`` have failed so far."""

    batch: Batch
    attempts: int
    reason: str


Settlement = Delivered | Refused
"""What ends a batch."""
Report = Settlement | Failed
