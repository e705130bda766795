"""How a lane's batches are cut, begun, settled and expired."""

import sqlite3
from pathlib import Path

import pytest

from bot.outbox.batch import Delivered, Failed, Refused
from bot.outbox.database import FILE_NAME
from bot.outbox.store import Store
from bot.outbox.stretch import BATCH_MAX_BYTES
from bot.outbox.work import OutgoingEvent, Work
from bot.routing.lane import Lane
from tests.support.stores import NOW, A, B, names, open_store, outgoing
from workflow.registry import max_events


def test_quiet_lane_sends_at_once(store: Store) -> None:
    (batch,) = store.apply(Work(events=[outgoing("a")]), slots=8, now_ms=NOW)
    assert batch.body == (
        f'{{"id":"{batch.execution}","destination":"default","parameters":{{}},'
        f'"events":["a{"x" * 10}"]}}'.encode()
    )
    assert batch.lane == A


def test_one_batch_per_lane(store: Store) -> None:
    """The next takes what gathered meanwhile."""
    (first,) = store.apply(Work(events=[outgoing("a")]), slots=8, now_ms=NOW)
    assert store.apply(Work(events=[outgoing(name) for name in "bcde"]), slots=8, now_ms=NOW) == []
    settled = Work(reports=[Delivered(first, "arn", 1)])
    (second,) = store.apply(settled, slots=8, now_ms=NOW)
    (third,) = store.apply(Work(reports=[Delivered(second, "arn", 1)]), slots=8, now_ms=NOW)
    assert names([second, third]) == ["b c d", "e"]
    store.apply(Work(reports=[Delivered(third, "arn", 1)]), slots=8, now_ms=NOW)
    assert store.waiting == 0


def test_lanes_share_slots(store: Store) -> None:
    events = [outgoing(str(n), Lane("notify", str(n))) for n in range(5)]
    begun = store.apply(Work(events=events), slots=2, now_ms=NOW)
    assert names(begun) == ["0", "1"]
    assert names(store.apply(Work(), slots=9, now_ms=NOW)) == ["2", "3", "4"]


def test_cuts_batch_at_destination(store: Store) -> None:
    events = [outgoing("a"), outgoing("b", destination="other"), outgoing("c")]
    (first,) = store.apply(Work(events=events), slots=1, now_ms=NOW)
    (second,) = store.apply(Work(reports=[Delivered(first, "arn", 1)]), slots=1, now_ms=NOW)
    assert names([first, second]) == ["a", "b"]
    assert b'"destination":"other"' in second.body


def test_cuts_batch_at_bytes(store: Store) -> None:
    """A batch always takes one event, however large."""
    events = [outgoing("a", size=BATCH_MAX_BYTES), outgoing("b"), outgoing("c", size=BATCH_MAX_BYTES - 50)]
    (first,) = store.apply(Work(events=events), slots=1, now_ms=NOW)
    (second,) = store.apply(Work(reports=[Delivered(first, "arn", 1)]), slots=1, now_ms=NOW)
    assert names([first, second]) == ["a", "b c"]
    assert len(second.body) < 262_144


def test_counts_bytes_not_characters(store: Store) -> None:
    wide = [OutgoingEvent(A, "default", name, '"' + "\N{PARTY POPPER}" * 20_000 + '"') for name in "abc"]
    (batch,) = store.apply(Work(events=wide), slots=1, now_ms=NOW)
    assert names([batch]) == ["a b"]


def test_restart_resends_same_batch(tmp_path: Path) -> None:
    store = open_store(tmp_path, 3)
    events = [outgoing(name) for name in "abcd"]
    (before,) = store.apply(Work(events=events), slots=8, now_ms=NOW)
    store.close()
    store = open_store(tmp_path, 100)
    assert store.open_batches() == [before]
    assert store.apply(Work(), slots=8, now_ms=NOW) == []
    (after,) = store.apply(Work(reports=[Delivered(before, "arn", 2)]), slots=8, now_ms=NOW)
    assert names([after]) == ["d"]
    store.close()


def test_restart_sends_waiting_events(tmp_path: Path) -> None:
    store = open_store(tmp_path, 3)
    store.apply(Work(events=[outgoing("a", B), outgoing("b", A), outgoing("c", B)]), slots=0, now_ms=NOW)
    store.close()
    store = open_store(tmp_path, 3)
    assert store.open_batches() == []
    assert store.waiting == 3
    assert names(store.apply(Work(), slots=8, now_ms=NOW)) == ["a c", "b"]
    store.close()


def test_halves_refused_batch(store: Store) -> None:
    (batch,) = store.apply(Work(events=[outgoing(name) for name in "abc"]), slots=1, now_ms=NOW)
    sent = [batch]
    while True:
        bad = "b" in batch.event_ids
        settlement = (
            Refused(batch, "no", split=len(batch.event_ids) > 1) if bad else Delivered(batch, "arn", 1)
        )
        begun = store.apply(Work(reports=[settlement]), slots=1, now_ms=NOW)
        if not begun:
            break
        (batch,) = begun
        sent.append(batch)
    assert names(sent) == ["a b c", "a", "b c", "b", "c"]
    assert len({batch.execution for batch in sent}) == 5
    assert store.count_dead_letters() == 1
    assert store.waiting == 0


def test_buries_batch_whole(store: Store) -> None:
    """One that may have been accepted is not split: under new names its events might arrive twice."""
    (batch,) = store.apply(Work(events=[outgoing(name) for name in "abc"]), slots=1, now_ms=NOW)
    assert store.apply(Work(reports=[Refused(batch, "no")]), slots=1, now_ms=NOW) == []
    assert (store.count_dead_letters(), store.waiting) == (3, 0)


def test_knows_batches_of_earlier_process(tmp_path: Path) -> None:
    store = open_store(tmp_path, 3)
    (batch,) = store.apply(Work(events=[outgoing("a")]), slots=1, now_ms=NOW)
    store.close()
    again = open_store(tmp_path, 3)
    (reopened,) = again.open_batches()
    again.close()
    assert (batch.sent_before, reopened.sent_before, reopened) == (False, True, batch)


def test_dead_letter_keeps_reason_and_bytes(store: Store, tmp_path: Path) -> None:
    (batch,) = store.apply(Work(events=[outgoing("a")]), slots=1, now_ms=NOW)
    store.apply(Work(reports=[Refused(batch, "too odd")]), slots=1, now_ms=NOW)
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        rows = db.execute("SELECT event_id, body, execution, reason, died_ms FROM dead_letter").fetchall()
    db.close()
    assert rows == [("a", outgoing("a").body, batch.execution, "too odd", NOW)]


def test_receipt_names_events_and_execution(store: Store, tmp_path: Path) -> None:
    (batch,) = store.apply(Work(events=[outgoing("a"), outgoing("b")]), slots=1, now_ms=NOW)
    store.apply(Work(reports=[Delivered(batch, "arn:x", 3)]), slots=1, now_ms=NOW + 5)
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        rows = db.execute("SELECT execution, arn, event_ids, attempts, delivered_ms FROM receipt").fetchall()
    db.close()
    assert rows == [(batch.execution, "arn:x", "a,b", 3, NOW + 5)]


def test_expires_old_events(tmp_path: Path) -> None:
    """The rest goes on."""
    store = open_store(tmp_path, 3, event_age_ms=1000)
    store.apply(Work(events=[outgoing("a"), outgoing("b")]), slots=0, now_ms=NOW)
    store.apply(Work(events=[outgoing("c"), outgoing("d", B)]), slots=0, now_ms=NOW + 600)
    assert names(store.apply(Work(), slots=9, now_ms=NOW + 1500)) == ["c", "d"]
    assert store.count_dead_letters() == 2
    assert store.waiting == 2
    store.close()


def test_expired_lane_begins_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path, 3, event_age_ms=1000)
    store.apply(Work(events=[outgoing("a"), outgoing("b")]), slots=0, now_ms=NOW)
    assert store.apply(Work(), slots=9, now_ms=NOW + 5000) == []
    assert (store.waiting, store.count_dead_letters()) == (0, 2)
    assert names(store.apply(Work(events=[outgoing("c")]), slots=9, now_ms=NOW + 5000)) == ["c"]
    store.close()


def test_begun_batch_never_expires(tmp_path: Path) -> None:
    store = open_store(tmp_path, 3, event_age_ms=1000)
    (batch,) = store.apply(Work(events=[outgoing("a")]), slots=1, now_ms=NOW)
    store.apply(Work(reports=[Failed(batch, 1, "down")], housekeeping=True), slots=9, now_ms=NOW + 9999)
    assert store.open_batches() == [batch]
    store.close()


def test_redriven_letter_starts_anew(tmp_path: Path) -> None:
    """It goes to the end of its lane, with a new age."""
    store = open_store(tmp_path, 9, event_age_ms=1000)
    store.apply(Work(events=[outgoing("a"), outgoing("b")]), slots=0, now_ms=NOW)
    store.apply(Work(), slots=9, now_ms=NOW + 5000)
    store._db.execute("UPDATE dead_letter SET redrive = 1 WHERE event_id = 'b'")
    store.apply(Work(events=[outgoing("c")]), slots=0, now_ms=NOW + 5000)
    (batch,) = store.apply(Work(housekeeping=True), slots=9, now_ms=NOW + 5100)
    assert names([batch]) == ["c b"]
    assert store.count_dead_letters() == 1
    store.close()


def test_records_failed_attempt(store: Store) -> None:
    (batch,) = store.apply(Work(events=[outgoing("a")]), slots=1, now_ms=NOW)
    assert store.apply(Work(reports=[Failed(batch, 3, "down")]), slots=9, now_ms=NOW + 7) == []
    row = store._db.execute("SELECT attempts, last_attempt_ms, last_error FROM batch").fetchone()
    assert row == (3, NOW + 7, "down")


@pytest.mark.parametrize(
    ("rule", "setting", "size"), [(2, 4, 2), (None, 4, 4), (2, None, 2), (None, None, max_events("notify"))]
)
def test_rule_then_setting_then_workflow(
    tmp_path: Path, rule: int | None, setting: int | None, size: int
) -> None:
    """Who decides how many events a batch may have."""
    store = open_store(tmp_path, setting)
    events = [outgoing(f"e{number}")._replace(batch_max_events=rule) for number in range(40)]

    (batch,) = store.apply(Work(events=events), slots=1, now_ms=NOW)

    assert len(batch.event_ids) == size
    store.close()
