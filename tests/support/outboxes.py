"""Outbox files in a known state, made by the real store."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import orjson

from bot.outbox.batch import Batch, Delivered, Failed, Refused, Report
from bot.outbox.database import open_database
from bot.outbox.store import Limits, Store
from bot.outbox.work import OutgoingEvent, Work
from bot.routing.lane import Lane
from bot.ulid import UlidFactory

NOW = 1_763_708_400_000
"""2025-11-21 07:00:00 UTC."""
HERE = Lane("notify", "41771983423143937")
THERE = Lane("notify", "127121515262115840")


class OutboxFile:
    """The store of *directory*, with batches of up to *batch_events*; ``now_ms`` is its clock."""

    def __init__(self, directory: Path, *, batch_events: int = 3) -> None:
        self.directory = directory
        self.store = Store(open_database(directory, synchronous="normal"), Limits(batch_events))
        self.now_ms = NOW
        self._new_id = UlidFactory()

    def event(self, lane: Lane = HERE, *, name: str = "nelly", event_id: str | None = None) -> OutgoingEvent:
        """Return an event in which *name* joined, not committed yet."""
        event_id = event_id or self._new_id(self.now_ms)
        body = {
            "specversion": "1.0",
            "id": event_id,
            "type": "discord.voice.joined",
            "subject": "users/80351110224678912",
            "data": {"guild": {"id": lane.guild_id}, "user": {"name": name}},
        }
        return OutgoingEvent(lane, "default", event_id, orjson.dumps(body).decode())

    def put(self, *events: OutgoingEvent) -> list[str]:
        """Commit events without beginning a batch; return their ids."""
        self.store.apply(Work(events=list(events)), slots=0, now_ms=self.now_ms)
        return [event.event_id for event in events]

    def begin(self) -> list[Batch]:
        """Begin a batch in every lane that has none."""
        return self.store.apply(Work(), slots=64, now_ms=self.now_ms)

    def report(self, *reports: Report) -> None:
        self.store.apply(Work(reports=list(reports)), slots=0, now_ms=self.now_ms)

    def fail(self, batch: Batch, attempts: int, reason: str) -> None:
        self.report(Failed(batch, attempts, reason))

    def deliver(self, batch: Batch, arn: str = "arn:aws:states:us-east-1:123456789012:execution:n:x") -> None:
        self.report(Delivered(batch, arn, 1))

    def bury(self, events: Iterable[OutgoingEvent], reason: str) -> list[str]:
        """Let *events* be refused one by one; each must be alone in its lane. Return their ids."""
        ids = []
        for event in events:
            ids += self.put(event)
            (batch,) = self.begin()
            self.report(Refused(batch, reason))
        return ids

    def housekeep(self) -> None:
        """Do what the relay does every few seconds."""
        self.store.apply(Work(housekeeping=True), slots=0, now_ms=self.now_ms)

    def waiting_ids(self) -> Sequence[str]:
        """Deliver every waiting event, and return their ids in order."""
        taken: list[str] = []
        while batches := self.begin():
            for batch in batches:
                taken += batch.event_ids
                self.deliver(batch)
        return taken

    def close(self) -> None:
        self.store.close()
