"""Each class of rows has a bound of its own, and no transaction grows with the backlog."""

import shutil
import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.errors import StoreFullError
from bot.outbox.database import FILE_NAME, open_database
from bot.outbox.housekeeping import CHUNK
from bot.outbox.inspection import open_inspection
from bot.outbox.store import Store
from bot.outbox.work import OutgoingEvent, Work
from bot.routing.lane import Lane
from tests.support.stores import NOW, count_rows, names, open_store, outgoing

AGE_MS = 1000
FILE_BYTES = 1 << 20


def fill_with_receipts(directory: Path, count: int = 8000) -> None:
    """Put *count* receipts of about 150 bytes each into the file, the first the oldest."""
    with closing(sqlite3.connect(directory / FILE_NAME)) as db, db:
        rows = ((f"x{n}", "a" * 100, 1, "e", 1, NOW, NOW + n) for n in range(count))
        db.executemany("INSERT INTO receipt VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL)", rows)


def large(name: str, lane: Lane, size: int = 400) -> OutgoingEvent:
    return OutgoingEvent(lane, "default", name, '"' + name.ljust(size, ".") + '"')


def fill(store: Store) -> None:
    for n in range(10_000):
        store.apply(Work(events=[large(f"e{n}", Lane("notify", "1"))]), slots=0, now_ms=NOW)


def wait(store: Store, count: int, *, lanes: int = 1) -> None:
    """Let *count* events wait, all of the same age."""
    events = [large(f"e{n}", Lane("notify", str(n % lanes))) for n in range(count)]
    store.apply(Work(events=events), slots=0, now_ms=NOW)


def test_receipts_never_fill_file(tmp_path: Path) -> None:
    """Only what waits counts as full: the oldest receipts make room."""
    store = open_store(tmp_path, 3, file_bytes=FILE_BYTES)
    fill_with_receipts(tmp_path)
    assert store._database.used_bytes() > FILE_BYTES
    assert store.apply(Work(events=[outgoing("a")]), slots=1, now_ms=NOW) != []
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as db:
        (oldest,) = db.execute("SELECT min(delivered_ms) FROM receipt").fetchone()
    assert oldest >= NOW + CHUNK
    with pytest.raises(StoreFullError):
        fill(store)
    assert count_rows(tmp_path, "receipt") == 0
    store.close()


def test_prunes_receipts_near_bound(tmp_path: Path) -> None:
    """However young, and a chunk at a time."""
    store = open_store(tmp_path, 3, file_bytes=FILE_BYTES)
    fill_with_receipts(tmp_path)
    left: list[int] = []
    while not left or store.more_to_do:
        store.apply(Work(housekeeping=True), slots=0, now_ms=NOW)
        left.append(count_rows(tmp_path, "receipt"))
    assert left[:2] == [8000 - CHUNK, 8000 - 2 * CHUNK]
    assert 0 < left[-1] < 8000
    assert store._database.used_bytes() < FILE_BYTES * 0.8
    store.close()


def test_prunes_old_receipts_in_chunks(tmp_path: Path) -> None:
    store = open_store(tmp_path, 3, receipt_age_ms=AGE_MS)
    fill_with_receipts(tmp_path, 2 * CHUNK + 500)
    left: list[int] = []
    while not left or store.more_to_do:
        store.apply(Work(housekeeping=True), slots=0, now_ms=NOW + 3600_000)
        left.append(count_rows(tmp_path, "receipt"))
    assert left == [CHUNK + 500, 500, 0]
    store.close()


@pytest.mark.parametrize("lanes", [1, 7])
@pytest.mark.parametrize("slots", [0, 64], ids=["housekeeping", "as batches begin"])
def test_expires_in_chunks(tmp_path: Path, lanes: int, slots: int) -> None:
    """Of all lanes, those whose turn has not come among them."""
    store = open_store(tmp_path, 3, event_age_ms=AGE_MS)
    wait(store, 3 * CHUNK, lanes=lanes)
    before = 0
    while not before or store.more_to_do:
        store.apply(Work(housekeeping=True), slots=slots, now_ms=NOW + AGE_MS + 1)
        now = store.count_dead_letters()
        assert now - before <= CHUNK * (2 if slots and lanes == 1 else 1 + lanes * bool(slots))
        before = now
    assert (store.waiting, before) == (0, 3 * CHUNK)
    store.close()


def test_dead_letters_have_a_bound(tmp_path: Path) -> None:
    """What they have no room for is kept and sent late, and it is said before and when that happens."""
    store = open_store(tmp_path, 100, event_age_ms=AGE_MS, file_bytes=8 * FILE_BYTES)
    wait(store, 8 * CHUNK)
    with capture_logs() as lines:
        while not store.letters_full:
            store.apply(Work(housekeeping=True), slots=0, now_ms=NOW + AGE_MS + 1)
    said = [line["event"] for line in lines if line["event"].startswith("dead_letters")]
    assert said == ["dead_letters_nearly_full", "dead_letters_full"]
    buried, waiting = store.count_dead_letters(), store.waiting
    assert (buried + waiting, waiting > 0) == (8 * CHUNK, True)
    store.apply(Work(housekeeping=True), slots=0, now_ms=NOW + AGE_MS + 1)
    (batch,) = store.apply(Work(), slots=1, now_ms=NOW + AGE_MS + 1)
    assert names([batch])[0].split()[0] == f"e{buried}"
    assert store.count_dead_letters() == buried
    with open_inspection(tmp_path, mode="rw") as inspection:
        assert inspection.drop(inspection.choose_all().letter_ids) == buried
    store.apply(Work(housekeeping=True), slots=0, now_ms=NOW + AGE_MS + 1)
    with open_inspection(tmp_path) as inspection:
        assert inspection.read_status().letters > 0
    store.close()


def test_counts_dead_letters_of_earlier_version(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    with resources.as_file(resources.files("bot.outbox").joinpath("schema", "0001_first.sql")) as first:
        shutil.copy(first, old)
    database = open_database(tmp_path / "data", schema=old)
    database.connection.execute("INSERT INTO lane (workflow, guild_id) VALUES ('notify', '1')")
    database.connection.execute(
        "INSERT INTO dead_letter (lane_id, event_id, destination, body, reason, died_ms)"
        "VALUES (1, 'e', 'default', '{\"a\": \"é\"}', 'no', 1)"
    )
    database.close()
    database = open_database(tmp_path / "data")
    query = "SELECT letters, bytes FROM dead_letter_usage"
    assert database.connection.execute(query).fetchall() == [(1, 11 + 2 + 150)]
    database.connection.execute("DELETE FROM dead_letter")
    assert database.connection.execute(query).fetchall() == [(0, 0)]
    database.close()
