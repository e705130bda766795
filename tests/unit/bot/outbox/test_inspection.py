"""The outbox as another process sees it, in files that the store has made."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bot.errors import StoreError
from bot.outbox.database import FILE_NAME, LOCK_NAME, open_database
from bot.outbox.inspection import Inspection, open_inspection
from bot.outbox.work import OutgoingEvent, Work
from bot.routing.debounce import Held, HeldKey
from bot.routing.lane import Lane
from bot.routing.rules import Route
from tests.support.outboxes import HERE, NOW, THERE, OutboxFile


def test_status_counts_waiting_by_lane(outbox: OutboxFile, inspection: Inspection) -> None:
    """The longest lane comes first."""
    outbox.put(outbox.event(THERE))
    outbox.now_ms += 5000
    outbox.put(*(outbox.event() for _ in range(5)))
    status = inspection.read_status()
    assert (status.waiting, status.lanes) == (6, 2)
    assert status.queues == [(HERE, 5, NOW + 5000), (THERE, 1, NOW)]


def test_status_shows_longest_queues(outbox: OutboxFile, inspection: Inspection) -> None:
    for number in range(15):
        outbox.put(*(outbox.event(Lane("notify", str(number))) for _ in range(1 + number % 3)))
    status = inspection.read_status()
    assert status.lanes == 15
    assert [queue.events for queue in status.queues] == [3] * 5 + [2] * 5


def test_status_shows_batches_in_flight(outbox: OutboxFile, inspection: Inspection) -> None:
    """Each with its last error."""
    outbox.put(*(outbox.event() for _ in range(5)))
    (batch,) = outbox.begin()
    outbox.now_ms += 700
    outbox.fail(batch, 2, "the API answered 503")
    (flight,) = inspection.read_status().flights
    assert (flight.lane, flight.execution, flight.events) == (HERE, batch.execution, 3)
    assert (flight.attempts, flight.last_error) == (2, "the API answered 503")
    assert (flight.created_ms, flight.last_attempt_ms) == (NOW, NOW + 700)


def test_status_counts_reasons(outbox: OutboxFile, inspection: Inspection) -> None:
    outbox.bury([outbox.event()], "too long")
    outbox.bury([outbox.event(), outbox.event()], "no such thing")
    inspection.mark_for_redrive([1])
    status = inspection.read_status()
    assert (status.letters, status.marked, status.reason_count) == (3, 1, 2)
    assert status.reasons == [("no such thing", 2), ("too long", 1)]


def test_status_counts_held_and_receipts(outbox: OutboxFile, inspection: Inspection) -> None:
    assert inspection.read_status().oldest_receipt_ms is None
    _hold(outbox, outbox.event())
    outbox.put(outbox.event())
    (batch,) = outbox.begin()
    outbox.now_ms += 10
    outbox.deliver(batch)
    status = inspection.read_status()
    assert (status.held, status.receipts, status.oldest_receipt_ms) == (1, 1, NOW + 10)


def test_status_tells_file_size(outbox: OutboxFile, inspection: Inspection) -> None:
    outbox.put(outbox.event(name="x" * 100_000))
    status = inspection.read_status()
    assert status.path == outbox.directory / FILE_NAME
    assert status.file_bytes >= status.used_bytes > 100_000
    assert status.wal_bytes > 100_000


def _hold(outbox: OutboxFile, event: OutgoingEvent) -> None:
    key = HeldKey(event.lane.guild_id, "80351110224678912", 5000)
    told: Any = {"id": event.event_id, "data": {"channel": None}}
    routes = (Route(event.lane.workflow, "default"),)
    held: dict[HeldKey, Held | None] = {key: Held(None, None, None, told, routes, NOW + 9000)}
    outbox.store.apply(Work(held=held), slots=0, now_ms=outbox.now_ms)


def test_lists_newest_letters_in_order(outbox: OutboxFile, inspection: Inspection) -> None:
    ids = outbox.bury([outbox.event() for _ in range(4)], "too long")
    letters, total = inspection.list_letters(limit=2)
    assert ([letter.event_id for letter in letters], total) == (ids[2:], 4)
    assert [letter.letter_id for letter in letters] == [3, 4]
    assert (letters[0].reason, letters[0].died_ms, letters[0].redrive) == ("too long", NOW, False)


def test_filters_letters_by_reason(outbox: OutboxFile, inspection: Inspection) -> None:
    """Whatever the case."""
    outbox.bury([outbox.event()], "expired: 100% of it")
    kept = outbox.bury([outbox.event()], "InvalidExecutionInput")
    letters, total = inspection.list_letters(limit=9, reason="executioninput")
    assert ([letter.event_id for letter in letters], total) == (kept, 1)
    assert inspection.list_letters(limit=9, reason="_")[1] == 0


def test_lists_waiting_with_batch(outbox: OutboxFile, inspection: Inspection) -> None:
    ids = outbox.put(*(outbox.event() for _ in range(5)))
    (batch,) = outbox.begin()
    events, total = inspection.list_waiting(limit=4)
    assert ([event.event_id for event in events], total) == (ids[:4], 5)
    assert [event.execution for event in events] == [batch.execution] * 3 + [None]


def test_finds_letter_by_both_ids(outbox: OutboxFile, inspection: Inspection) -> None:
    """By its own number and by its event's id."""
    event = outbox.event()
    outbox.bury([event, event._replace(lane=THERE)], "too long")
    assert [letter.lane for letter in inspection.find_letters("2")] == [THERE]
    (first, second) = inspection.find_letters(event.event_id)
    assert (first.letter_id, second.letter_id) == (1, 2)
    assert first.body == event.body
    assert inspection.find_letters("3") == []


def test_long_digits_are_event_ids(outbox: OutboxFile, inspection: Inspection) -> None:
    event_id = "00000000000000000000000001"
    outbox.bury([outbox.event(), outbox.event(event_id=event_id)], "too long")
    assert [letter.letter_id for letter in inspection.find_letters(event_id)] == [2]


def test_traces_every_state(outbox: OutboxFile, inspection: Inspection) -> None:
    first, second = outbox.event(), outbox.event()
    _hold(outbox, first)
    (held,) = inspection.trace(first.event_id).held
    assert (held.lane, held.due_ms) == (HERE, NOW + 9000)

    outbox.put(first, *(outbox.event() for _ in range(2)), second)
    (waiting,) = inspection.trace(second.event_id).queued
    assert (waiting.position, waiting.length, waiting.flight) == (4, 4, None)

    (batch,) = outbox.begin()
    outbox.fail(batch, 1, "the API answered 503")
    (sent,) = inspection.trace(first.event_id).queued
    (waiting,) = inspection.trace(second.event_id).queued
    assert (sent.event.execution, waiting.event.execution) == (batch.execution, None)
    assert sent.flight == waiting.flight
    assert sent.flight is not None
    assert (sent.flight.attempts, sent.flight.last_error) == (1, "the API answered 503")

    outbox.deliver(batch, "arn:1")
    (receipt,) = inspection.trace(first.event_id).receipts
    assert (receipt.execution, receipt.arn, receipt.attempts) == (batch.execution, "arn:1", 1)
    assert inspection.trace(second.event_id).receipts == []


def test_traces_every_lane(outbox: OutboxFile, inspection: Inspection) -> None:
    event = outbox.event()
    outbox.bury([event], "too long")
    outbox.put(event._replace(lane=THERE))
    trace = inspection.trace(event.event_id)
    assert [letter.lane for letter in trace.letters] == [HERE]
    assert [queued.event.lane for queued in trace.queued] == [THERE]


@pytest.mark.parametrize("off_ms", [-3_600_000, -10 * 24 * 3_600_000])
def test_traces_despite_clock_change(outbox: OutboxFile, inspection: Inspection, off_ms: int) -> None:
    (event_id,) = outbox.put(outbox.event())
    outbox.now_ms += off_ms
    (batch,) = outbox.begin()
    outbox.deliver(batch)
    assert len(inspection.trace(event_id).receipts) == 1


@pytest.mark.parametrize("event_id", ["", "0", "nonsense", "01" * 13, ","])
def test_traces_nothing_for_unknown_id(outbox: OutboxFile, inspection: Inspection, event_id: str) -> None:
    outbox.put(outbox.event(), outbox.event())
    (batch,) = outbox.begin()
    outbox.deliver(batch)
    outbox.bury([outbox.event()], "too long")
    assert not inspection.trace(event_id)


def test_masks_secrets_in_reasons(outbox: OutboxFile, inspection: Inspection) -> None:
    secret = "AKIAIOSFODNN7EXAMPLE"
    outbox.bury([outbox.event()], f"bad key {secret}")
    outbox.put(outbox.event())
    (batch,) = outbox.begin()
    outbox.fail(batch, 1, f"bad key {secret}")
    (event_id,) = batch.event_ids
    told = repr((inspection.read_status(), inspection.list_letters(limit=9), inspection.trace(event_id)))
    assert told.count("bad key ***") == 4
    assert secret not in told


def test_takes_no_lock(tmp_path: Path) -> None:
    """A relay can start while the file is looked at, and a look does not bring a lock or a file."""
    OutboxFile(tmp_path).close()
    (tmp_path / LOCK_NAME).unlink()
    with open_inspection(tmp_path, mode="rw") as inspection:
        inspection.read_status()
        assert not (tmp_path / LOCK_NAME).exists()
        open_database(tmp_path).close()


def test_read_only_by_default(outbox: OutboxFile) -> None:
    outbox.bury([outbox.event()], "too long")
    with pytest.raises(StoreError, match="readonly"), open_inspection(outbox.directory) as inspection:
        inspection.drop([1])
    assert outbox.store.count_dead_letters() == 1


@pytest.mark.parametrize("place", ["", "missing", "file/below"])
def test_names_missing_outbox(tmp_path: Path, place: str) -> None:
    """It makes none."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(StoreError, match=f"no outbox in {tmp_path / place} yet"),
        open_inspection(tmp_path / place),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(("version", "word"), [(0, "older"), (999, "newer")])
def test_refuses_other_schema_version(tmp_path: Path, version: int, word: str) -> None:
    """The file stays as it is."""
    if version:
        OutboxFile(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as db:
        db.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(StoreError, match=f"{word} voice-relay .schema {version}"), open_inspection(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (version,)


def test_explains_broken_file(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("not a database " * 100)
    with pytest.raises(StoreError, match="not a database"), open_inspection(tmp_path):
        pass


def test_quotes_path_in_uri(tmp_path: Path) -> None:
    directory = tmp_path / "100% sure? #1 ü"
    OutboxFile(directory).close()
    with open_inspection(directory) as inspection:
        assert inspection.read_status().waiting == 0


def test_reports_busy_file(outbox: OutboxFile) -> None:
    outbox.bury([outbox.event()], "too long")
    outbox.store._db.execute("BEGIN IMMEDIATE")
    with (
        pytest.raises(StoreError, match="try again"),
        open_inspection(outbox.directory, mode="rw", busy_s=0) as inspection,
    ):
        inspection.drop([1])
    outbox.store._db.execute("ROLLBACK")
