"""Batches that the API has accepted stay until their execution has ended."""

import dataclasses
from pathlib import Path

from bot.outbox.batch import Acceptance, Accepted, Batch, Deferred, Delivered, Failed, Forgotten, Refused
from bot.outbox.inspection import open_inspection
from bot.outbox.store import Store
from bot.outbox.work import Work
from tests.support.stores import NOW, B, count_rows, names, open_store, outgoing

ARN = "arn:aws:states:us-east-1:123456789012:execution:notify:x"


def accept(store: Store, batch: Batch, attempts: int = 1) -> Batch:
    accepted = dataclasses.replace(batch, body=b"", accepted=Acceptance(ARN, attempts, NOW))
    assert store.apply(Work(reports=[Accepted(accepted)]), slots=8, now_ms=NOW) == []
    return accepted


def test_accepted_batch_holds_its_lane(store: Store) -> None:
    """What comes next waits for the end, and what of it stands in other lanes does not."""
    (first,) = store.apply(Work(events=[outgoing("a")]), slots=8, now_ms=NOW)
    accepted = accept(store, first)
    more = [outgoing("b"), outgoing("c", B)]
    assert names(store.apply(Work(events=more), slots=8, now_ms=NOW)) == ["c"]
    assert store.waiting == 3
    settled = Work(reports=[Delivered(accepted, ARN, 1)])
    assert names(store.apply(settled, slots=8, now_ms=NOW)) == ["b"]


def test_acceptance_survives_restart(tmp_path: Path) -> None:
    """The next process follows the same execution, and does not send the batch again."""
    store = open_store(tmp_path, 5)
    (first,) = store.apply(Work(events=[outgoing("a")]), slots=8, now_ms=NOW)
    store.apply(Work(reports=[Failed(first, 2, "down")]), slots=8, now_ms=NOW)
    accepted = accept(store, first, attempts=3)
    store.close()
    store = open_store(tmp_path, 5)
    (again,) = store.open_batches()
    store.close()
    assert again == accepted
    assert again.sent_before


def test_forgotten_batch_is_handed_out_again(store: Store) -> None:
    """The same bytes under the same name, whatever came into the lane since."""
    (first,) = store.apply(Work(events=[outgoing("a"), outgoing("b")]), slots=8, now_ms=NOW)
    accepted = accept(store, first)
    work = Work(events=[outgoing("c")], reports=[Forgotten(accepted)])
    (again,) = store.apply(work, slots=8, now_ms=NOW)
    assert again == first
    assert store.open_batches() == [first]


def test_forgotten_batch_needs_no_slot(store: Store) -> None:
    """It was begun already, and would stay for ever if it were passed over."""
    (first,) = store.apply(Work(events=[outgoing("a")]), slots=8, now_ms=NOW)
    work = Work(reports=[Forgotten(accept(store, first))])
    assert store.apply(work, slots=0, now_ms=NOW) == [first]


def test_deferred_events_rest(store: Store) -> None:
    """Then they go again, first in line, in an execution of another name."""
    (first,) = store.apply(Work(events=[outgoing("a"), outgoing("b")]), slots=8, now_ms=NOW)
    work = Work(events=[outgoing("c")], reports=[Deferred(accept(store, first), rest_s=10)])
    assert store.apply(work, slots=8, now_ms=NOW) == []
    assert store.apply(Work(events=[outgoing("d")]), slots=8, now_ms=NOW + 9_999) == []
    assert store.waiting == 4
    (again,) = store.apply(Work(), slots=8, now_ms=NOW + 10_000)
    assert names([again]) == ["a b c"]
    assert again.execution != first.execution
    assert names(store.apply(Work(events=[outgoing("z", B)]), slots=8, now_ms=NOW + 10_000)) == ["z"]


def test_rest_survives_clock_set_back(store: Store) -> None:
    """It lasts as long as was asked for, and not an hour more."""
    (first,) = store.apply(Work(events=[outgoing("a")]), slots=8, now_ms=NOW)
    rest = Work(reports=[Deferred(accept(store, first), rest_s=10)])
    assert store.apply(rest, slots=8, now_ms=NOW) == []
    back_ms = NOW - 3_600_000
    assert store.apply(Work(), slots=8, now_ms=back_ms) == []
    assert store.apply(Work(), slots=8, now_ms=back_ms + 9_999) == []
    assert names(store.apply(Work(), slots=8, now_ms=back_ms + 10_000)) == ["a"]


def test_rest_ends_with_the_process(tmp_path: Path) -> None:
    store = open_store(tmp_path, 5)
    (first,) = store.apply(Work(events=[outgoing("a")]), slots=8, now_ms=NOW)
    store.apply(Work(reports=[Deferred(accept(store, first), rest_s=300)]), slots=8, now_ms=NOW)
    store.close()
    store = open_store(tmp_path, 5)
    assert store.open_batches() == []
    assert names(store.apply(Work(), slots=8, now_ms=NOW)) == ["a"]
    store.close()


def test_failed_execution_is_dead_letter(tmp_path: Path) -> None:
    store = open_store(tmp_path, 5)
    (first,) = store.apply(Work(events=[outgoing("a")]), slots=8, now_ms=NOW)
    store.apply(Work(reports=[Refused(accept(store, first), "Unknown Webhook")]), slots=8, now_ms=NOW)
    store.close()
    with open_inspection(tmp_path) as inspection:
        (letter,) = inspection.find_letters("a")
    assert (letter.event_id, letter.execution, letter.reason) == ("a", first.execution, "Unknown Webhook")
    assert count_rows(tmp_path, "event") == 0


def test_waits_behind_tells_of_its_lane(store: Store) -> None:
    (first,) = store.apply(Work(events=[outgoing("a")]), slots=8, now_ms=NOW)
    store.apply(Work(events=[outgoing("b", B)]), slots=8, now_ms=NOW)
    assert not store.waits_behind(first)
    store.apply(Work(events=[outgoing("c")]), slots=8, now_ms=NOW)
    assert store.waits_behind(first)


def test_status_shows_acceptance(tmp_path: Path) -> None:
    store = open_store(tmp_path, 5)
    (first,) = store.apply(Work(events=[outgoing("a")]), slots=8, now_ms=NOW)
    accept(store, first)
    store.close()
    with open_inspection(tmp_path) as inspection:
        (flight,) = inspection.read_status().flights
        assert (flight.arn, flight.accepted_ms) == (ARN, NOW)
        assert inspection.find_arn(first.execution) == ARN
