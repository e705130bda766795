"""A signal goes to the execution that was last started for what its event is about."""

import sqlite3
from contextlib import closing
from pathlib import Path

import orjson

from bot.outbox.batch import Batch, Deferred, Delivered, Refused, Report, Signal
from bot.outbox.database import FILE_NAME
from bot.outbox.inspection import open_inspection
from bot.outbox.store import Store
from bot.outbox.work import OutgoingEvent, Work
from bot.routing.lane import Lane
from tests.support.stores import NOW, count_rows, names, open_store, outgoing

ADMIT = Lane("admit", "1")
DAY_MS = 24 * 3600 * 1000


def enters(name: str, user: str, lane: Lane = ADMIT) -> OutgoingEvent:
    return outgoing(name, lane)._replace(key=f"user-{user}", parameters='{"room":"5"}')


def leaves(name: str, user: str, lane: Lane = ADMIT) -> OutgoingEvent:
    return outgoing(name, lane)._replace(key=f"user-{user}", signal="withdraw")


def put(store: Store, *events: OutgoingEvent, reports: list[Report] | None = None) -> list[Batch]:
    return store.apply(Work(events=list(events), reports=reports or []), slots=9, now_ms=NOW)


def settle(store: Store, batch: Batch, now_ms: int = NOW) -> list[Batch]:
    return store.apply(Work(reports=[Delivered(batch, "arn", 1)]), slots=9, now_ms=now_ms)


def test_signal_follows_its_start(store: Store) -> None:
    """It waits in the lane until the start is settled, and knows when that was."""
    (start,) = put(store, enters("in", "7"))
    assert put(store, leaves("out", "7")) == []
    (signal,) = settle(store, start, NOW + 5)
    assert signal.signal == Signal("withdraw", start.execution, NOW + 5)
    assert orjson.loads(signal.body) == {"event": "out" + "x" * 10}
    assert (start.key, signal.key) == ("user-7", "user-7")


def test_each_start_has_a_batch_of_its_own(store: Store) -> None:
    """Also where the lane's batches may be larger."""
    sent = put(store, *(enters(name, name) for name in "ab"), outgoing("c", ADMIT), outgoing("d", ADMIT))
    while begun := settle(store, sent[-1]):
        sent += begun
    assert names(sent) == ["a", "b", "c d"]
    assert orjson.loads(sent[0].body)["parameters"] == {"room": "5"}


def test_signal_is_of_person_and_lane(store: Store) -> None:
    """The last start counts."""
    elsewhere = Lane("admit", "2")
    sent = put(
        store, enters("a", "7"), enters("b", "8"), enters("c", "7"), leaves("d", "7"), leaves("e", "8")
    )
    sent += put(store, enters("f", "7", elsewhere))
    settle(store, sent.pop())
    while begun := settle(store, sent[-1]):
        sent += begun
    first, second = (batch.signal for batch in sent[-2:])
    assert (first and first.execution, second and second.execution) == (sent[2].execution, sent[1].execution)


def test_signal_without_start_has_no_target(store: Store) -> None:
    (signal,) = put(store, leaves("out", "7"))
    assert signal.signal == Signal("withdraw", None)


def test_refused_start_is_not_signalled(store: Store) -> None:
    (start,) = put(store, enters("in", "7"))
    (signal,) = put(store, leaves("out", "7"), reports=[Refused(start, "no")])
    assert signal.signal == Signal("withdraw", None)


def test_deferred_start_is_signalled_by_new_name(store: Store) -> None:
    (start,) = put(store, enters("in", "7"))
    put(store, leaves("out", "7"), reports=[Deferred(start, rest_s=0)])
    (again,) = store.apply(Work(), slots=9, now_ms=NOW + 1)
    assert again.execution != start.execution
    (signal,) = settle(store, again)
    assert signal.signal == Signal("withdraw", again.execution, NOW)


def test_restart_keeps_what_was_started(tmp_path: Path) -> None:
    store = open_store(tmp_path, 3)
    (start,) = put(store, enters("in", "7"))
    store.close()
    store = open_store(tmp_path, 3)
    (again,) = store.open_batches()
    assert again == start
    (signal,) = put(store, leaves("out", "7"), reports=[Delivered(again, "arn", 1)])
    store.close()
    store = open_store(tmp_path, 3)
    (reopened,) = store.open_batches()
    assert reopened == signal
    assert signal.signal == Signal("withdraw", start.execution, NOW)
    store.close()


def test_begun_signal_keeps_its_target(tmp_path: Path) -> None:
    """A start that comes later, by a redrive say, does not change what an attempt went to."""
    store = open_store(tmp_path, 3)
    (start,) = put(store, enters("a", "7"))
    (signal,) = put(store, leaves("b", "7"), reports=[Delivered(start, "arn", 1)])
    store.close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as db:
        db.execute("UPDATE started SET execution = 'another'")
        db.commit()
    store = open_store(tmp_path, 3)
    assert [batch.signal for batch in store.open_batches()] == [signal.signal]
    store.close()


def test_receipt_tells_outcome(tmp_path: Path) -> None:
    store = open_store(tmp_path, 3)
    (start,) = put(store, enters("in", "7"))
    (signal,) = put(store, leaves("out", "7"), reports=[Delivered(start, "arn", 1)])
    put(store, reports=[Delivered(signal, "", 2, "signalled")])
    store.close()
    with open_inspection(tmp_path) as inspection:
        (receipt,) = inspection.trace("out").receipts
        (started,) = inspection.trace("in").receipts
    assert (receipt.signal, receipt.target, receipt.outcome, receipt.attempts) == (
        "withdraw",
        start.execution,
        "signalled",
        2,
    )
    assert (started.signal, started.target, started.outcome) == (None, None, None)


def test_ended_execution_is_forgotten(store: Store) -> None:
    """A later signal is not sent to it; a start since then is kept."""
    (start,) = put(store, enters("a", "7"))
    (signal,) = put(store, leaves("b", "7"), reports=[Delivered(start, "arn", 1)])
    (second,) = put(store, leaves("c", "7"), reports=[Delivered(signal, "", 1, "not waiting", ended=True)])
    assert second.signal == Signal("withdraw", None)


def test_outcome_alone_forgets_nothing(store: Store) -> None:
    """Some executions take many signals."""
    (start,) = put(store, enters("a", "7"))
    (signal,) = put(store, leaves("b", "7"), reports=[Delivered(start, "arn", 1)])
    (second,) = put(store, leaves("c", "7"), reports=[Delivered(signal, "", 1, "signalled")])
    assert second.signal == signal.signal


def test_dead_letter_stays_a_signal(tmp_path: Path) -> None:
    store = open_store(tmp_path, 3)
    (start,) = put(store, enters("a", "7"))
    (signal,) = put(store, leaves("b", "7"), reports=[Delivered(start, "arn", 1)])
    put(store, reports=[Refused(signal, "no")])
    with open_inspection(tmp_path, mode="rw") as inspection:
        (letter,) = inspection.find_letters("b")
        assert inspection.mark_for_redrive([letter.letter_id]) == 1
    (again,) = store.apply(Work(housekeeping=True), slots=1, now_ms=NOW)
    assert letter.signal == "withdraw"
    assert (again.signal, again.body) == (signal.signal, signal.body)
    store.close()


def test_redriven_signal_spares_later_start(tmp_path: Path) -> None:
    """The person is back, and waits for a decision that the old signal is not about."""
    store = open_store(tmp_path, 3)
    (start,) = put(store, enters("a", "7"))
    (signal,) = put(store, leaves("b", "7"), reports=[Delivered(start, "arn", 1)])
    (later,) = put(store, enters("c", "7"), reports=[Refused(signal, "no")])
    settle(store, later)
    with open_inspection(tmp_path, mode="rw") as inspection:
        inspection.mark_for_redrive(inspection.choose_all().letter_ids)
    (again,) = store.apply(Work(housekeeping=True), slots=1, now_ms=NOW)
    assert again.signal == Signal("withdraw", None)
    (withdrawn,) = put(store, leaves("d", "7"), reports=[Delivered(again, "", 1, "not sent")])
    assert withdrawn.signal == Signal("withdraw", later.execution, NOW)
    store.close()


def test_starts_are_forgotten_with_age(tmp_path: Path) -> None:
    """As receipts are, so that the table is bounded."""
    store = open_store(tmp_path, 1, receipt_age_ms=DAY_MS)
    (start,) = put(store, enters("a", "7"))
    settle(store, start)
    store.apply(Work(housekeeping=True), slots=0, now_ms=NOW + DAY_MS)
    assert count_rows(tmp_path, "started") == 1
    store.apply(Work(housekeeping=True), slots=0, now_ms=NOW + DAY_MS + 1)
    assert count_rows(tmp_path, "started") == 0
    store.close()


def test_start_without_key_is_not_remembered(store: Store, tmp_path: Path) -> None:
    put(store, outgoing("a", ADMIT))
    assert count_rows(tmp_path, "started") == 0
