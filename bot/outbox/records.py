"""What an inspection reads in the outbox: plain records, times in milliseconds since 1970."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bot.routing.lane import Lane


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter; ``execution`` is the one that was refused, ``None`` if it was never sent.

    ``parameters`` are its rule's, as JSON; ``signal`` is what it was to go as, instead of starting anything.
    """

    letter_id: int
    lane: Lane
    destination: str
    event_id: str
    body: str
    execution: str | None
    reason: str
    died_ms: int
    redrive: bool
    parameters: str | None = None
    signal: str | None = None


@dataclass(frozen=True, slots=True)
class Flight:
    """A lane's batch in flight; ``attempts`` are those that failed.

    ``arn`` is the execution's once the API has accepted it: its end is awaited. A ``signal`` goes to the
    execution ``target``, ``None`` if it was never started.
    """

    lane: Lane
    execution: str
    events: int
    created_ms: int
    attempts: int
    last_attempt_ms: int | None
    last_error: str | None
    arn: str | None = None
    accepted_ms: int | None = None
    signal: str | None = None
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event in its lane; ``execution`` names its batch, ``None`` while it is in none.

    ``parameters`` are its rule's, as JSON; ``signal`` is what it goes as, instead of starting anything.
    """

    lane: Lane
    destination: str
    event_id: str
    body: str
    entered_ms: int
    execution: str | None
    parameters: str | None = None
    signal: str | None = None


@dataclass(frozen=True, slots=True)
class Queued:
    """An event as the ``position``-th of ``length`` in its lane; ``flight`` is the lane's batch in flight."""

    event: Waiting
    position: int
    length: int
    flight: Flight | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was delivered; of a ``signal`` also to which execution, ``target``, and its ``outcome``."""

    lane: Lane
    execution: str
    arn: str
    attempts: int
    created_ms: int
    delivered_ms: int
    signal: str | None = None
    target: str | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """An event that the debounce holds until ``due_ms``, unless what follows undoes it."""

    lane: Lane
    destination: str
    body: str
    due_ms: int


class Queue(NamedTuple):
    lane: Lane
    events: int
    oldest_ms: int


class Parked(NamedTuple):
    """How many lanes are parked, with how many events; ``longest`` are those with the most.

    ``to_drop`` is how many lanes, parked or not, have events that are dropped and not deleted yet.
    """

    lanes: int
    events: int
    longest: Sequence[tuple[Lane, int]]
    to_drop: int


class Reason(NamedTuple):
    reason: str
    letters: int


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the outbox; ``queues`` and ``reasons`` are the largest, of so many in all."""

    path: Path
    file_bytes: int
    used_bytes: int
    wal_bytes: int
    waiting: int
    lanes: int
    queues: Sequence[Queue]
    parked: Parked
    flights: Sequence[Flight]
    letters: int
    marked: int
    reasons: Sequence[Reason]
    reason_count: int
    held: int
    receipts: int
    oldest_receipt_ms: int | None


@dataclass(frozen=True, slots=True)
class Trace:
    """Every place where an event stands."""

    held: Sequence[HeldEvent]
    queued: Sequence[Queued]
    receipts: Sequence[Receipt]
    letters: Sequence[Letter]

    def __bool__(self) -> bool:
        return bool(self.held or self.queued or self.receipts or self.letters)


class Chosen(NamedTuple):
    """The ids of dead letters, and the names that fit none."""

    letter_ids: Sequence[int]
    unknown: Sequence[str]
