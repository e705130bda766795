"""Restarts between two snapshots of a guild: the gap begins where watching ended."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from bot.clock import format_ms
from bot.gateway.intake import Intake
from bot.outbox.database import open_database
from bot.outbox.store import Store
from bot.outbox.work import Advanced, Captured, Released, Watched, Work
from bot.routing.rules import Rule, Rules
from bot.ulid import UlidFactory
from bot.voice.tracker import Tracker

GUILD, NELLY = "41771983423143937", "80351110224678912"
NOW_MS = 1_795_259_000_000


class Process:
    """Intake and store of one process; ``commit`` writes to disk."""

    def __init__(self, store: Store, now_ms: int) -> None:
        self.now_ms = now_ms
        self.store = store
        self.pending: list[Captured] = []
        tracker = Tracker(store.load_occupancy(), UlidFactory())
        self.intake = Intake(tracker, Rules([Rule()]), self._put, clock=lambda: self.now_ms)
        self.intake.begin(lambda _: False, ())

    def _put(self, item: Captured | Released | Advanced) -> None:
        assert isinstance(item, Captured)
        self.pending.append(item)

    def commit(self, *, watched_ms: int | None = None) -> list[dict[str, Any]]:
        """Write what is pending, and until when the guild was watched; return the events."""
        observations = [seen.observation for seen in self.pending]
        events = [orjson.loads(event.body) for seen in self.pending for event in seen.events]
        watched = None if watched_ms is None else Watched(1, {0: watched_ms})
        self.store.apply(Work(observations, watched=watched), slots=0, now_ms=self.now_ms)
        self.pending.clear()
        return events

    def snapshot(self, *people: str) -> None:
        states = [{"user_id": one, "channel_id": "5"} for one in people]
        self.intake.guild_created({"id": GUILD, "name": "Base", "voice_states": states})


@contextmanager
def process(directory: Path, now_ms: int) -> Iterator[Process]:
    """Run a process that ends as a crash does: only what was committed stays."""
    store = Store(open_database(directory))
    try:
        yield Process(store, now_ms)
    finally:
        store.close()


@pytest.mark.parametrize("lives_between", [0, 1, 3])
def test_gap_spans_processes_without_snapshot(tmp_path: Path, lives_between: int) -> None:
    """Processes in between were connected but died before the guild's snapshot."""
    with process(tmp_path, NOW_MS) as first:
        first.snapshot()
        first.commit(watched_ms=NOW_MS + 50)
    for life in range(lives_between):
        with process(tmp_path, NOW_MS + 1000 * (life + 1)) as between:
            between.commit(watched_ms=between.now_ms)
    with process(tmp_path, NOW_MS + 9000) as last:
        last.snapshot(NELLY)
        gap, joined = last.commit()
    assert gap["data"]["from"] == format_ms(NOW_MS + 50)
    assert (gap["data"]["until"], gap["data"]["reason"]) == (format_ms(NOW_MS + 9000), "restart")
    assert joined["data"]["inferred"]


def test_gap_keeps_unknown_start(tmp_path: Path) -> None:
    """The first process died before it recorded watching, and a later one does not fill that in."""
    with process(tmp_path, NOW_MS) as first:
        first.snapshot()
        first.commit()
    with process(tmp_path, NOW_MS + 1000) as between:
        between.commit(watched_ms=NOW_MS + 1000)
    with process(tmp_path, NOW_MS + 2000) as last:
        last.snapshot()
        (gap,) = last.commit()
    assert gap["data"]["from"] is None


def test_crash_keeps_reason_of_gap(tmp_path: Path) -> None:
    with process(tmp_path, NOW_MS) as first:
        first.snapshot()
        first.intake.guild_deleted({"id": GUILD, "unavailable": True})
        first.commit(watched_ms=NOW_MS + 50)
    with process(tmp_path, NOW_MS + 1000) as last:
        last.snapshot()
        (gap,) = last.commit()
    assert (gap["data"]["from"], gap["data"]["reason"]) == (format_ms(NOW_MS), "guild_unavailable")
