"""The write-ahead log is emptied beside the commits."""

import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from bot.outbox import checkpoints, database
from bot.outbox.database import FILE_NAME
from bot.outbox.work import Work
from tests.support.stores import NOW, count_rows, open_store, outgoing

TIMEOUT_S = 20.0


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """After every third commit, and never by SQLite itself."""
    monkeypatch.setattr(checkpoints, "EVERY_COMMITS", 3)
    monkeypatch.setattr(database, "_CHECKPOINT_PAGES", 0)


def wait_until(holds: Callable[[], bool]) -> None:
    until_s = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < until_s
        time.sleep(0.01)


def count_without_log(directory: Path) -> int:
    """Return how many events the file alone has."""
    alone = directory / "alone"
    alone.mkdir(exist_ok=True)
    shutil.copy(directory / FILE_NAME, alone / FILE_NAME)
    try:
        return count_rows(alone, "event")
    except sqlite3.DatabaseError:
        return 0


def test_empties_log_beside_commits(tmp_path: Path) -> None:
    store = open_store(tmp_path, 3)
    for name in "abc":
        store.apply(Work(events=[outgoing(name)]), slots=0, now_ms=NOW)
    wait_until(lambda: count_without_log(tmp_path) == 3)
    store.close()


def test_writes_over_emptied_log(tmp_path: Path) -> None:
    """So it grows no longer."""
    store = open_store(tmp_path, 3)
    sizes = []
    for number in range(30):
        store.apply(Work(events=[outgoing(f"e{number}")]), slots=0, now_ms=NOW)
        if number % 3 == 2:
            wait_until(lambda: count_without_log(tmp_path) == number + 1)  # noqa: B023
            sizes.append((tmp_path / f"{FILE_NAME}-wal").stat().st_size)
    store.close()
    assert sizes[-1] < 2 * sizes[1]


def test_close_ends_thread(tmp_path: Path) -> None:
    store = open_store(tmp_path, 3)
    for name in "abc":
        store.apply(Work(events=[outgoing(name)]), slots=0, now_ms=NOW)
    assert "checkpoints" in {thread.name for thread in threading.enumerate()}
    store.close()
    assert "checkpoints" not in {thread.name for thread in threading.enumerate()}


def test_failure_is_logged_and_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with structlog.testing.capture_logs() as logs:
        store = open_store(tmp_path, 3)
        with monkeypatch.context() as broken:
            broken.setattr(checkpoints, "guard", fail)
            for name in "abc":
                store.apply(Work(events=[outgoing(name)]), slots=0, now_ms=NOW)
            wait_until(lambda: bool(logs))
        for name in "def":
            store.apply(Work(events=[outgoing(name)]), slots=0, now_ms=NOW)
        wait_until(lambda: count_without_log(tmp_path) == 6)
        store.close()
    assert [(line["event"], line["reason"]) for line in logs] == [
        ("outbox_checkpoint_failed", "disk I/O error")
    ]
