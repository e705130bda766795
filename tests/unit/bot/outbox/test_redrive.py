"""Dead letters are marked for redrive and dropped beside a running relay."""

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

from bot.outbox.database import FILE_NAME
from bot.outbox.inspection import Inspection, open_inspection
from bot.outbox.records import Chosen
from bot.outbox.work import Work
from tests.support.outboxes import NOW, THERE, OutboxFile


class FullSpeed(threading.Thread):
    """A relay that commits without a rest; ``slowest_s`` is the longest that one event's way took."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.events = 0
        self.slowest_s = 0.0
        self.error: Exception | None = None
        self.begun = threading.Event()
        self._directory = directory
        self._stopping = threading.Event()

    def run(self) -> None:
        outbox = OutboxFile(self._directory)
        try:
            while not self._stopping.is_set():
                began_s = time.monotonic()
                outbox.bury([outbox.event()], "too long")
                outbox.put(outbox.event(THERE))
                for batch in outbox.begin():
                    outbox.deliver(batch)
                self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
                self.events += 1
                self.begun.set()
        except Exception as error:  # noqa: BLE001  # stop raises it
            self.error = error
        finally:
            outbox.close()

    def stop(self) -> None:
        self._stopping.set()
        self.join()
        if self.error is not None:
            raise self.error


def test_chooses_each_letter_once(outbox: OutboxFile, inspection: Inspection) -> None:
    """Names that fit no letter are returned too."""
    ids = outbox.bury([outbox.event() for _ in range(3)], "too long")
    assert inspection.choose(["2", ids[1], "17", ids[0], "nonsense"]) == Chosen([1, 2], ["17", "nonsense"])


def test_marked_letter_joins_lane_end(outbox: OutboxFile, inspection: Inspection) -> None:
    dead = outbox.bury([outbox.event() for _ in range(3)], "too long")
    waiting = outbox.put(outbox.event())
    assert inspection.mark_for_redrive([1, 3]) == 2
    assert inspection.mark_for_redrive([1, 3]) == 0
    outbox.housekeep()
    assert inspection.mark_for_redrive([1, 3]) == 0
    assert outbox.waiting_ids() == [*waiting, dead[0], dead[2]]
    assert [letter.event_id for letter in inspection.list_letters(limit=9)[0]] == [dead[1]]


def test_marks_survive_until_next_start(tmp_path: Path) -> None:
    outbox = OutboxFile(tmp_path)
    dead = outbox.bury([outbox.event()], "too long")
    outbox.close()
    with open_inspection(tmp_path, mode="rw") as inspection:
        assert inspection.mark_for_redrive(inspection.choose_all().letter_ids) == 1
    outbox = OutboxFile(tmp_path)
    outbox.housekeep()
    assert outbox.waiting_ids() == dead
    outbox.close()


def test_drops_marked_letters_too(outbox: OutboxFile, inspection: Inspection) -> None:
    outbox.bury([outbox.event() for _ in range(3)], "too long")
    inspection.mark_for_redrive([2])
    assert inspection.drop([1, 2, 9]) == 2
    outbox.housekeep()
    assert outbox.waiting_ids() == []
    assert [letter.letter_id for letter in inspection.list_letters(limit=9)[0]] == [3]


def test_letter_numbers_are_unique(outbox: OutboxFile, inspection: Inspection) -> None:
    """Or a number that somebody noted would drop another letter than they saw."""
    outbox.bury([outbox.event(), outbox.event()], "too long")
    inspection.drop([2])
    outbox.bury([outbox.event()], "too long")
    assert inspection.choose_all().letter_ids == [1, 3]


def test_changes_letters_in_chunks(outbox: OutboxFile) -> None:
    """Between them the relay has its turn."""
    outbox.store._db.execute("INSERT INTO lane (lane_id, workflow, guild_id) VALUES (1, 'notify', '1')")
    outbox.store._db.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) "
        "INSERT INTO dead_letter (lane_id, event_id, destination, body, reason, died_ms) "
        "SELECT 1, 'event' || i, 'default', '{}', 'too long', 0 FROM n"
    )
    pauses: list[int] = []
    path = outbox.directory / FILE_NAME

    def pause(_: float) -> None:
        outbox.store.apply(Work(), slots=0, now_ms=NOW)
        pauses.append(outbox.store.count_dead_letters())

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        inspection = Inspection(connection, path, pause)
        assert inspection.mark_for_redrive(inspection.choose_all().letter_ids) == 1200
        assert inspection.drop(inspection.choose_all("LONG").letter_ids) == 1200
    assert pauses == [1200, 1200, 700, 200]


def test_shares_file_with_busy_relay(tmp_path: Path) -> None:
    """Neither fails, and neither waits long for the other."""
    relay = FullSpeed(tmp_path)
    relay.start()
    try:
        assert relay.begun.wait(20)
        dropped = 0
        for _ in range(40):
            with open_inspection(tmp_path, mode="rw") as inspection:
                status = inspection.read_status()
                assert status.letters == sum(letters for _, letters in status.reasons)
                assert inspection.list_letters(limit=5)[1] >= status.letters
                ids = inspection.choose_all().letter_ids
                inspection.mark_for_redrive(ids[:2])
                dropped += inspection.drop(ids)
    finally:
        relay.stop()
    assert relay.slowest_s < 2
    with open_inspection(tmp_path) as inspection:
        left = inspection.read_status()
    assert dropped > 0
    assert left.letters + dropped == relay.events
