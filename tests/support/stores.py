"""Stores on files of their own, and small events to put into them."""

import sqlite3
from pathlib import Path

from bot.outbox.batch import Batch
from bot.outbox.database import FILE_NAME, open_database
from bot.outbox.store import Limits, Store
from bot.outbox.work import OutgoingEvent
from bot.routing.lane import Lane

A = Lane("notify", "1")
B = Lane("notify", "2")
NOW = 1_763_708_400_000


def open_store(directory: Path, batch_events: int | None, **limits: int) -> Store:
    return Store(open_database(directory), Limits(batch_events, **limits))


def outgoing(name: str, lane: Lane = A, destination: str = "default", size: int = 10) -> OutgoingEvent:
    return OutgoingEvent(lane, destination, name, f'"{name}{"x" * size}"')


def names(batches: list[Batch]) -> list[str]:
    return [" ".join(batch.event_ids) for batch in batches]


def count_rows(directory: Path, table: str) -> int:
    db = sqlite3.connect(directory / FILE_NAME)
    try:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608  # ours
    finally:
        db.close()
