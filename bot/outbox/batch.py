"""Batches, and what becomes of them: the data that the outbox and the dispatcher exchange.

begun ── accepted ──▶ followed, if its workflow is ── succeeded ──▶ receipt
  │                      │   │   └── forgotten by the API ──▶ begun: the same bytes, the same name
  │                      │   └── failed, and nothing was posted ──▶ deferred: its events wait again
  │                      └── failed ──▶ dead letters
  ├── accepted, and not followed ──▶ receipt
  ├── a signal that was answered ──▶ receipt, which says how
  └── refused ──▶ split, or dead letters
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from bot.routing.lane import Lane


class Signal(NamedTuple):
    """A signal's name, and the execution that it goes to: ``None`` if none was started, as far as is known.

    ``accepted_ms`` is when the API accepted that execution, 0 if that is unknown or long ago.
    """

    name: str
    execution: str | None
    accepted_ms: int = 0


class Acceptance(NamedTuple):
    """That the API accepted a batch: the execution's ARN, after how many attempts, and when."""

    arn: str
    attempts: int
    accepted_ms: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that start one execution together: the same name and the same bytes at every attempt.

    ``sent_before``: an earlier process may have sent it, and what became of that is unknown. From
    ``expires_ms`` on, all of its events are too old to be sent again. One that was ``accepted`` is followed
    to its end, and needs no ``body`` for that. With a ``signal`` it starts nothing: ``body`` is the data of
    the signal, and ``execution`` names this batch alone. ``key`` is what its only event is about.
    """

    lane_id: int
    lane: Lane
    execution: str
    body: bytes
    event_ids: tuple[str, ...]
    created_ms: int
    destination: str = ""
    sent_before: bool = field(default=False, compare=False)
    expires_ms: int = field(default=2**63 - 1, compare=False)
    accepted: Acceptance | None = None
    key: str | None = None
    signal: Signal | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The API accepted the batch, whose execution is followed from now on. It gives its place back."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Delivered:
    """The API accepted the batch, and its execution, ``arn``, succeeded if it was followed.

    ``outcome`` is what became of a signal, for people. ``ended``: the execution takes no signal any more.
    """

    batch: Batch
    arn: str
    attempts: int
    outcome: str | None = None
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The batch will never be accepted, or its execution failed. ``reason`` is for people and has no secret.

    ``split``: nothing of it had any effect, so that its events go again, half as many at a time; otherwise
    they become dead letters.
    """

    batch: Batch
    reason: str
    split: bool = False


@dataclass(frozen=True, slots=True)
class Deferred:
    """The batch's execution failed without any effect, and not because of its events.

    They go again in an execution of another name, after *rest_s*.
    """

    batch: Batch
    rest_s: float


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The API does not know the execution that it accepted: the batch is to be sent again as it was."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt failed and will be repeated; ``attempts`` have failed so far."""

    batch: Batch
    attempts: int
    reason: str


Settlement = Delivered | Refused | Deferred
"""What ends a batch."""
Report = Settlement | Accepted | Forgotten | Failed
