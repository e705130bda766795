"""The file that nothing is lost from."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.batch import Batch, Delivered, Lane, OutgoingEvent, Refused
from bot.capture import GuildRow, Observation
from bot.errors import StoreError
from bot.occupancy import Occupant
from bot.store import BATCH_MAX_BYTES, FILE_NAME, Store, Work

A = Lane("notify", "1")
B = Lane("notify", "2")
NOW = 1_763_708_400_000


def outgoing(name: str, lane: Lane = A, destination: str = "default", size: int = 10) -> OutgoingEvent:
    return OutgoingEvent(lane, destination, name, f'"{name}{"x" * size}"')


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path, batch_max_events=3)
    yield store
    store.close()


def names(batches: list[Batch]) -> list[str]:
    return [" ".join(batch.event_ids) for batch in batches]


def test_a_quiet_lane_sends_one_event_at_once(store: Store) -> None:
    (batch,) = store.apply(Work(events=[outgoing("a")]), slots=8, now_ms=NOW)
    assert batch.body == (
        f'{{"id":"{batch.execution}","destination":"default","events":["a{"x" * 10}"]}}'.encode()
    )
    assert batch.lane == A


def test_a_lane_has_one_batch_in_flight_and_the_next_takes_what_gathered(store: Store) -> None:
    (first,) = store.apply(Work(events=[outgoing("a")]), slots=8, now_ms=NOW)
    assert store.apply(Work(events=[outgoing(name) for name in "bcde"]), slots=8, now_ms=NOW) == []
    settled = Work(settlements=[Delivered(first, "arn", 1)])
    (second,) = store.apply(settled, slots=8, now_ms=NOW)
    (third,) = store.apply(Work(settlements=[Delivered(second, "arn", 1)]), slots=8, now_ms=NOW)
    assert names([second, third]) == ["b c d", "e"]
    store.apply(Work(settlements=[Delivered(third, "arn", 1)]), slots=8, now_ms=NOW)
    assert store.waiting == 0


def test_lanes_go_side_by_side_up_to_the_slots(store: Store) -> None:
    events = [outgoing(str(n), Lane("notify", str(n))) for n in range(5)]
    begun = store.apply(Work(events=events), slots=2, now_ms=NOW)
    assert names(begun) == ["0", "1"]
    assert names(store.apply(Work(), slots=9, now_ms=NOW)) == ["2", "3", "4"]


def test_a_batch_is_cut_where_the_destination_changes(store: Store) -> None:
    events = [outgoing("a"), outgoing("b", destination="other"), outgoing("c")]
    (first,) = store.apply(Work(events=events), slots=1, now_ms=NOW)
    (second,) = store.apply(Work(settlements=[Delivered(first, "arn", 1)]), slots=1, now_ms=NOW)
    assert names([first, second]) == ["a", "b"]
    assert b'"destination":"other"' in second.body


def test_a_batch_is_cut_where_the_bytes_run_out_but_takes_one_event_always(store: Store) -> None:
    events = [outgoing("a", size=BATCH_MAX_BYTES), outgoing("b"), outgoing("c", size=BATCH_MAX_BYTES - 50)]
    (first,) = store.apply(Work(events=events), slots=1, now_ms=NOW)
    (second,) = store.apply(Work(settlements=[Delivered(first, "arn", 1)]), slots=1, now_ms=NOW)
    assert names([first, second]) == ["a", "b c"]
    assert len(second.body) < 262_144


def test_bytes_are_counted_as_they_are_sent(store: Store) -> None:
    wide = [OutgoingEvent(A, "default", name, '"' + "\N{PARTY POPPER}" * 20_000 + '"') for name in "abc"]
    (batch,) = store.apply(Work(events=wide), slots=1, now_ms=NOW)
    assert names([batch]) == ["a b"]


def test_an_unsettled_batch_goes_out_again_the_same_after_a_restart(tmp_path: Path) -> None:
    store = Store.open(tmp_path, batch_max_events=3)
    events = [outgoing(name) for name in "abcd"]
    (before,) = store.apply(Work(events=events), slots=8, now_ms=NOW)
    store.close()
    store = Store.open(tmp_path, batch_max_events=100)
    assert store.open_batches() == [before]
    assert store.apply(Work(), slots=8, now_ms=NOW) == []
    (after,) = store.apply(Work(settlements=[Delivered(before, "arn", 2)]), slots=8, now_ms=NOW)
    assert names([after]) == ["d"]
    store.close()


def test_what_was_waiting_is_sent_after_a_restart_without_a_new_event(tmp_path: Path) -> None:
    store = Store.open(tmp_path, batch_max_events=3)
    store.apply(Work(events=[outgoing("a", B), outgoing("b", A), outgoing("c", B)]), slots=0, now_ms=NOW)
    store.close()
    store = Store.open(tmp_path, batch_max_events=3)
    assert store.open_batches() == []
    assert store.waiting == 3
    assert names(store.apply(Work(), slots=8, now_ms=NOW)) == ["a c", "b"]
    store.close()


def test_a_refused_batch_is_halved_until_the_bad_event_stands_alone(store: Store) -> None:
    (batch,) = store.apply(Work(events=[outgoing(name) for name in "abc"]), slots=1, now_ms=NOW)
    sent = [batch]
    while True:
        bad = "b" in batch.event_ids
        settlement = Refused(batch, "no") if bad else Delivered(batch, "arn", 1)
        begun = store.apply(Work(settlements=[settlement]), slots=1, now_ms=NOW)
        if not begun:
            break
        (batch,) = begun
        sent.append(batch)
    assert names(sent) == ["a b c", "a", "b c", "b", "c"]
    assert len({batch.execution for batch in sent}) == 5
    assert store.count_dead_letters() == 1
    assert store.waiting == 0


def test_a_dead_letter_keeps_the_reason_and_the_original_bytes(store: Store, tmp_path: Path) -> None:
    (batch,) = store.apply(Work(events=[outgoing("a")]), slots=1, now_ms=NOW)
    store.apply(Work(settlements=[Refused(batch, "too odd")]), slots=1, now_ms=NOW)
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        rows = db.execute("SELECT event_id, body, execution, reason, died_ms FROM dead_letter").fetchall()
    db.close()
    assert rows == [("a", outgoing("a").body, batch.execution, "too odd", NOW)]


def test_a_receipt_names_the_events_and_their_execution(store: Store, tmp_path: Path) -> None:
    (batch,) = store.apply(Work(events=[outgoing("a"), outgoing("b")]), slots=1, now_ms=NOW)
    store.apply(Work(settlements=[Delivered(batch, "arn:x", 3)]), slots=1, now_ms=NOW + 5)
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        rows = db.execute("SELECT execution, arn, event_ids, attempts, delivered_ms FROM receipt").fetchall()
    db.close()
    assert rows == [(batch.execution, "arn:x", "a,b", 3, NOW + 5)]


def test_old_receipts_are_dropped(store: Store, tmp_path: Path) -> None:
    (batch,) = store.apply(Work(events=[outgoing("a")]), slots=1, now_ms=NOW)
    store.apply(Work(settlements=[Delivered(batch, "arn:x", 1)]), slots=1, now_ms=NOW)
    store.prune_receipts(now_ms=NOW + 6 * 24 * 3600 * 1000)
    assert _count(tmp_path, "receipt") == 1
    store.prune_receipts(now_ms=NOW + 8 * 24 * 3600 * 1000)
    assert _count(tmp_path, "receipt") == 0


def test_occupancy_is_what_was_last_observed(tmp_path: Path) -> None:
    store = Store.open(tmp_path, batch_max_events=3)
    user = {"id": "9", "name": "n", "display_name": "N", "bot": False}
    occupant = Occupant(user, "5", 7, 3)  # type: ignore[arg-type]
    row = GuildRow("Base", True, None, None)
    first = Observation("1", occupants={"9": occupant, "8": Occupant(user, "5", None, 0)}, guild=row)  # type: ignore[arg-type]
    second = Observation("1", occupants={"8": None})
    gone = Observation("2", occupants={"9": occupant}, guild=row)
    store.apply(Work(observations=[first, gone]), slots=0, now_ms=NOW)
    store.apply(
        Work(observations=[second, Observation("2", forgotten=True)], watched_until_ms=NOW),
        slots=0,
        now_ms=NOW,
    )
    store.close()
    store = Store.open(tmp_path, batch_max_events=3)
    guilds = store.load_occupancy()
    store.close()
    assert list(guilds) == ["1"]
    assert guilds["1"].occupants == {"9": occupant}
    assert (guilds["1"].known, guilds["1"].watched) == (True, False)
    assert (guilds["1"].unwatched_since_ms, guilds["1"].gap_reason) == (NOW, "restart")


def test_a_stretch_unwatched_before_a_restart_keeps_its_beginning_and_reason(tmp_path: Path) -> None:
    store = Store.open(tmp_path, batch_max_events=3)
    row = GuildRow("Base", True, NOW - 500, "guild_unavailable")
    store.apply(Work(observations=[Observation("1", guild=row)], watched_until_ms=NOW), slots=0, now_ms=NOW)
    store.close()
    store = Store.open(tmp_path, batch_max_events=3)
    guild = store.load_occupancy()["1"]
    store.close()
    assert (guild.unwatched_since_ms, guild.gap_reason) == (NOW - 500, "guild_unavailable")


def test_a_failed_transaction_leaves_nothing_behind(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(
        observations=[Observation("1", guild=GuildRow("x", True, None, None))], events=[outgoing("a")]
    )

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(store, "_begin_batch", fail)
        with pytest.raises(StoreError, match="disk I/O error"):
            store.apply(work, slots=1, now_ms=NOW)
    assert store.waiting == 0
    assert store.load_occupancy() == {}
    assert names(store.apply(work, slots=1, now_ms=NOW)) == ["a"]


def test_a_second_process_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="another voice-relay is running"):
        Store.open(tmp_path, batch_max_events=3)
    store.close()
    Store.open(tmp_path, batch_max_events=3).close()


def test_a_file_of_a_newer_version_is_left_alone(store: Store, tmp_path: Path) -> None:
    store.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        db.execute("PRAGMA user_version = 999")
    db.close()
    with pytest.raises(StoreError, match="newer voice-relay"):
        Store.open(tmp_path, batch_max_events=3)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database, by any means" * 100)
    with pytest.raises(StoreError, match=FILE_NAME):
        Store.open(tmp_path, batch_max_events=3)


def test_a_directory_that_cannot_be_made_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="VOICE_RELAY_DATA_DIR"):
        Store.open(tmp_path / "file" / "data", batch_max_events=3)


def test_a_power_cut_loses_no_commit_by_default(store: Store) -> None:
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def _count(directory: Path, table: str) -> int:
    db = sqlite3.connect(directory / FILE_NAME)
    try:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608  # ours
    finally:
        db.close()
