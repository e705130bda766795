"""What the outbox hands to the dispatcher, and what the dispatcher says of it."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from bot.routing.lane import Lane

AS_BEFORE: Final = 0


class OutgoingEvent(NamedTuple):
    """An event on its way into a lane; ``body`` is its JSON, sent as it is.

    ``batch_max_events`` is how many events its lane's batches may have from now on: ``None`` for as many as
    the setting says, ``AS_BEFORE`` for no change.
    """

    lane: Lane
    destination: str
    event_id: str
    body: str
    batch_max_events: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that start one execution together: one name and the same bytes at every attempt."""

    lane_id: int
    lane: Lane
    execution: str
    body: bytes
    event_ids: tuple[str, ...]
    created_ms: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """The API has accepted the batch; ``arn`` is the execution that it started."""

    batch: Batch
    arn: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The API will never accept the batch, for ``reason``: fit for a person, free of secrets."""

    batch: Batch
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt at the batch failed and will be repeated; ``attempts`` failed so far."""

    batch: Batch
    attempts: int
    reason: str


Settlement = Delivered | Refused
"""What ends a batch."""
Report = Settlement | Failed
