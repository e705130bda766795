"""Lanes are parked, released and emptied beside a running relay."""

import dataclasses
import sqlite3
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.errors import StoreError
from bot.outbox import parking
from bot.outbox import store as store_module
from bot.outbox.batch import Acceptance, Accepted, Batch, Deferred, Refused
from bot.outbox.inspection import Inspection, open_inspection
from bot.outbox.work import Work
from bot.routing.lane import Lane
from tests.support.outboxes import HERE, NOW, THERE, OutboxFile

OTHER = Lane("digest", HERE.guild_id)


def park(inspection: Inspection, workflow: str, guild_id: str | None = None) -> int:
    marks = inspection.lane_marks
    return marks.park(marks.find(workflow, guild_id))


def release(inspection: Inspection, workflow: str, guild_id: str | None = None) -> int:
    marks = inspection.lane_marks
    return marks.release(marks.find(workflow, guild_id))


def drop(inspection: Inspection, workflow: str, guild_id: str | None = None) -> int:
    marks = inspection.lane_marks
    return marks.drop(marks.find(workflow, guild_id))


def accept(batch: Batch) -> Batch:
    return dataclasses.replace(batch, accepted=Acceptance("arn:x", 1, NOW))


def housekeep_fully(outbox: OutboxFile) -> list[int]:
    """Do the housekeeping until there is no more to do; return what waits after each transaction."""
    left: list[int] = []
    while outbox.store.more_to_do or not left:
        outbox.housekeep()
        left.append(outbox.store.waiting)
    return left


def count_events(outbox: OutboxFile) -> int:
    count: int = outbox.store._db.execute("SELECT count(*) FROM event").fetchone()[0]
    return count


def test_parked_lane_begins_no_batch(outbox: OutboxFile, inspection: Inspection) -> None:
    """Other lanes do; its own events gather, and keep their order after the release."""
    first = outbox.put(*(outbox.event() for _ in range(2)))
    outbox.put(outbox.event(THERE), outbox.event(OTHER))
    assert park(inspection, "notify", HERE.guild_id) == 1
    outbox.housekeep()
    begun = outbox.begin()
    assert {batch.lane for batch in begun} == {THERE, OTHER}
    for batch in begun:
        outbox.deliver(batch)
    later = outbox.put(*(outbox.event() for _ in range(5)))
    assert outbox.begin() == []
    assert (outbox.store.waiting, outbox.store.lanes_due) == (7, False)
    assert release(inspection, "notify", HERE.guild_id) == 1
    outbox.housekeep()
    assert outbox.store.lanes_due
    assert outbox.waiting_ids() == [*first, *later]


def test_parks_all_lanes_of_workflow(outbox: OutboxFile, inspection: Inspection) -> None:
    """A guild's first event makes a lane that is not parked."""
    outbox.put(outbox.event(), outbox.event(THERE), outbox.event(OTHER))
    assert park(inspection, "notify") == 2
    assert park(inspection, "notify") == 0
    new = Lane("notify", "5")
    outbox.housekeep()
    outbox.put(outbox.event(new))
    assert {batch.lane for batch in outbox.begin()} == {OTHER, new}


def test_parking_survives_restart(tmp_path: Path) -> None:
    """A mark that was set while no relay ran is heeded from the first transaction."""
    outbox = OutboxFile(tmp_path)
    ids = outbox.put(outbox.event(), outbox.event())
    outbox.close()
    with open_inspection(tmp_path, mode="rw") as inspection:
        park(inspection, "notify")
    for _ in range(2):
        outbox = OutboxFile(tmp_path)
        assert outbox.begin() == []
        outbox.close()
    with open_inspection(tmp_path, mode="rw") as inspection:
        release(inspection, "notify")
    outbox = OutboxFile(tmp_path)
    assert outbox.waiting_ids() == ids
    outbox.close()


def test_batch_in_flight_goes_on(outbox: OutboxFile, inspection: Inspection) -> None:
    """The lane begins none after it, whether its batch was taken or is to be split."""
    ids = outbox.put(*(outbox.event() for _ in range(4)), outbox.event(THERE), outbox.event(THERE))
    here, there = outbox.begin()
    park(inspection, "notify")
    outbox.housekeep()
    assert outbox.store.open_batches() != []
    outbox.deliver(here)
    outbox.report(Refused(there, "too large", split=True))
    assert outbox.begin() == []
    release(inspection, "notify")
    outbox.housekeep()
    assert sorted(outbox.waiting_ids()) == sorted(ids[3:])


def test_rest_ends_in_parked_lane(outbox: OutboxFile, inspection: Inspection) -> None:
    ids = outbox.put(outbox.event())
    (batch,) = outbox.begin()
    outbox.report(Accepted(batch := accept(batch)))
    outbox.report(Deferred(batch, rest_s=5))
    park(inspection, "notify")
    outbox.housekeep()
    outbox.now_ms += 6000
    assert outbox.begin() == []
    release(inspection, "notify")
    outbox.housekeep()
    assert outbox.waiting_ids() == ids


def test_release_keeps_rest(outbox: OutboxFile, inspection: Inspection) -> None:
    """A lane that rests goes on when it has rested, not when it is released."""
    ids = outbox.put(outbox.event())
    (batch,) = outbox.begin()
    outbox.report(Accepted(batch := accept(batch)))
    park(inspection, "notify")
    outbox.housekeep()
    outbox.report(Deferred(batch, rest_s=5))
    release(inspection, "notify")
    outbox.housekeep()
    assert outbox.begin() == []
    outbox.now_ms += 6000
    assert outbox.waiting_ids() == ids


def test_parked_events_expire(outbox: OutboxFile, inspection: Inspection) -> None:
    outbox.put(outbox.event())
    park(inspection, "notify")
    outbox.now_ms += 25 * 3600 * 1000
    outbox.housekeep()
    assert (outbox.store.waiting, outbox.store.count_dead_letters()) == (0, 1)


def test_logs_parking_by_workflow(outbox: OutboxFile, inspection: Inspection) -> None:
    """Once each time, with what waits."""
    outbox.put(outbox.event(), outbox.event(), outbox.event(THERE), outbox.event(OTHER))
    with capture_logs() as lines:
        park(inspection, "notify")
        outbox.housekeep()
        outbox.housekeep()
        release(inspection, "notify", THERE.guild_id)
        outbox.housekeep()
    assert [(line["event"], line["workflow"], line["lanes"], line["events"]) for line in lines] == [
        ("lane_parked", "notify", 2, 3),
        ("lane_released", "notify", 1, 1),
    ]
    named = [set(line["guild_ids"]) for line in lines]
    assert named == [{HERE.guild_id, THERE.guild_id}, {THERE.guild_id}]


def test_start_logs_parked_lanes(tmp_path: Path, outbox: OutboxFile, inspection: Inspection) -> None:
    outbox.put(outbox.event())
    park(inspection, "notify")
    outbox.close()
    with capture_logs() as lines:
        OutboxFile(tmp_path).close()
    assert [(line["event"], line["events"]) for line in lines if "lane" in line["event"]] == [
        ("lane_parked", 1)
    ]


def test_drops_what_waits(outbox: OutboxFile, inspection: Inspection) -> None:
    """Not what is in flight, nor what waits in other lanes."""
    ids = outbox.put(*(outbox.event() for _ in range(5)))
    (batch,) = outbox.begin()
    other = outbox.put(outbox.event(THERE))
    assert drop(inspection, "notify", HERE.guild_id) == 1
    with capture_logs() as lines:
        housekeep_fully(outbox)
    assert [line for line in lines if line["event"] == "lane_dropped"] == [
        {
            "event": "lane_dropped",
            "log_level": "warning",
            "workflow": "notify",
            "lanes": 1,
            "guild_ids": [HERE.guild_id],
            "events": 2,
        }
    ]
    assert outbox.store.waiting == count_events(outbox) == 4
    assert inspection.find_waiting(ids[3]) == []
    outbox.deliver(batch)
    assert outbox.waiting_ids() == other
    assert outbox.store.waiting == count_events(outbox) == 0


def test_drop_spares_later_events(outbox: OutboxFile, inspection: Inspection) -> None:
    """They are sent once the drop is done, if the lane is not parked."""
    outbox.put(outbox.event(), outbox.event())
    assert drop(inspection, "notify") == 1
    later = outbox.put(outbox.event())
    housekeep_fully(outbox)
    assert outbox.waiting_ids() == later


def test_parked_lane_stays_parked_when_emptied(outbox: OutboxFile, inspection: Inspection) -> None:
    outbox.put(outbox.event())
    park(inspection, "notify")
    drop(inspection, "notify")
    housekeep_fully(outbox)
    kept = outbox.put(outbox.event())
    assert outbox.begin() == []
    release(inspection, "notify")
    outbox.housekeep()
    assert outbox.waiting_ids() == kept


def test_drops_in_chunks(outbox: OutboxFile, inspection: Inspection) -> None:
    """Of a thousand; other lanes go on between them, while this one begins no batch."""
    outbox.put(*(outbox.event(name="n") for _ in range(2500)))
    assert drop(inspection, "notify") == 1
    outbox.housekeep()
    outbox.put(outbox.event(OTHER))
    assert [batch.lane for batch in outbox.begin()] == [OTHER]
    assert outbox.store.waiting == count_events(outbox) == 1501
    assert housekeep_fully(outbox) == [501, 1, 1]


def test_drop_of_many_lanes_shares_chunks(outbox: OutboxFile, inspection: Inspection) -> None:
    """A workflow of many guilds is not dropped a lane at a time."""
    outbox.put(*(outbox.event(Lane("notify", str(number % 700 + 1))) for number in range(1400)))
    assert drop(inspection, "notify") == 700
    assert housekeep_fully(outbox) == [400, 0, 0]
    assert inspection.read_status().parked.to_drop == 0


def test_drop_spares_reused_places(outbox: OutboxFile, inspection: Inspection) -> None:
    """An event that takes the place of a delivered one is not what the operator saw."""
    outbox.put(outbox.event())
    lanes = inspection.lane_marks.find("notify", None)
    assert inspection.lane_marks.drop(lanes) == 1
    assert len(outbox.waiting_ids()) == 1
    new = outbox.put(outbox.event())
    assert outbox.store._db.execute("SELECT seq FROM event").fetchall() == [(lanes[0].last_seq,)]
    housekeep_fully(outbox)
    assert inspection.lane_marks.drop(lanes) == 0
    assert outbox.waiting_ids() == new


def test_drop_goes_on_after_restart(tmp_path: Path) -> None:
    """A relay that starts begins no batch of what is dropped."""
    outbox = OutboxFile(tmp_path)
    outbox.put(*(outbox.event() for _ in range(1200)))
    with open_inspection(tmp_path, mode="rw") as inspection:
        drop(inspection, "notify")
    outbox.housekeep()
    outbox.close()
    outbox = OutboxFile(tmp_path)
    assert (outbox.begin(), outbox.store.waiting) == ([], 200)
    housekeep_fully(outbox)
    assert outbox.store.waiting == count_events(outbox) == 0
    outbox.close()


def test_failed_transaction_drops_nothing(
    outbox: OutboxFile, inspection: Inspection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither on disk nor in the count, which the log has right in the end."""

    def fail(*_: object) -> int:
        raise sqlite3.OperationalError("disk I/O error")

    outbox.put(outbox.event(), outbox.event())
    drop(inspection, "notify")
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "prune_receipts", fail)
        with pytest.raises(StoreError):
            outbox.housekeep()
    assert outbox.store.waiting == count_events(outbox) == 2
    with capture_logs() as lines:
        housekeep_fully(outbox)
    assert [line["events"] for line in lines if line["event"] == "lane_dropped"] == [2]
    assert outbox.store.waiting == count_events(outbox) == 0


def test_status_counts_parked_lanes(outbox: OutboxFile, inspection: Inspection) -> None:
    outbox.put(outbox.event(), *(outbox.event(THERE) for _ in range(2)), outbox.event(OTHER))
    assert inspection.read_status().parked == (0, 0, [], 0)
    park(inspection, "notify")
    drop(inspection, "digest")
    assert inspection.read_status().parked == (2, 3, [(THERE, 2), (HERE, 1)], 1)


def test_finds_lane_with_all_in_flight(outbox: OutboxFile, inspection: Inspection) -> None:
    """It can be parked; there is nothing in it to drop."""
    outbox.put(outbox.event())
    outbox.begin()
    (lane,) = inspection.lane_marks.find("notify", None)
    assert (lane.lane, lane.parked, lane.events) == (HERE, False, 0)
    assert inspection.lane_marks.drop([lane]) == 0
    assert inspection.lane_marks.find("notify", "5") == []


def test_idle_housekeeping_reads_index(outbox: OutboxFile) -> None:
    """It runs every few seconds, beside a hundred thousand lanes and a million events."""
    for statement, values in ((parking._MARKED, ()), (parking._TO_DROP, (1000,)), (parking._DROP_DONE, ())):
        plan = outbox.store._db.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
        assert "lane_marked" in plan[0][3], plan
        assert not any("TEMP B-TREE" in step[3] for step in plan), plan


def test_forgets_no_event_of_same_transaction(outbox: OutboxFile, inspection: Inspection) -> None:
    """What is captured in the transaction of the housekeeping is kept, in the lane being emptied too."""
    outbox.put(outbox.event())
    drop(inspection, "notify")
    kept = outbox.event()
    outbox.store.apply(Work(events=[kept], housekeeping=True), slots=64, now_ms=outbox.now_ms)
    housekeep_fully(outbox)
    assert outbox.waiting_ids() == [kept.event_id]
