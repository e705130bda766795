"""The file that nothing is lost from."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.errors import StoreDamagedError, StoreError, StoreFullError
from bot.outbox.batch import Batch, Delivered, Failed, Refused
from bot.outbox.batch_rows import BATCH_MAX_BYTES
from bot.outbox.database import FILE_NAME, open_database
from bot.outbox.store import Limits, Store
from bot.outbox.work import OutgoingEvent, Watched, Work
from bot.routing.lane import Lane
from bot.voice.observation import GuildRow, Observation
from bot.voice.occupancy import Occupant
from workflow.registry import DEFAULT_MAX_EVENTS

A = Lane("notify", "1")
B = Lane("notify", "2")
NOW = 1_763_708_400_000


def open_store(directory: Path, batch_events: int | None, **limits: int) -> Store:
    return Store(open_database(directory), Limits(batch_events, **limits))


def outgoing(name: str, lane: Lane = A, destination: str = "default", size: int = 10) -> OutgoingEvent:
    return OutgoingEvent(lane, destination, name, f'"{name}{"x" * size}"')


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path, 3)
    yield store
    store.close()


@pytest.mark.parametrize(
    ("rule", "setting", "size"), [(2, 4, 2), (None, 4, 4), (2, None, 2), (None, None, DEFAULT_MAX_EVENTS)]
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


def names(batches: list[Batch]) -> list[str]:
    return [" ".join(batch.event_ids) for batch in batches]


def test_quiet_lane_sends_at_once(store: Store) -> None:
    (batch,) = store.apply(Work(events=[outgoing("a")]), slots=8, now_ms=NOW)
    assert batch.body == (
        f'{{"id":"{batch.execution}","destination":"default","events":["a{"x" * 10}"]}}'.encode()
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
        settlement = Refused(batch, "no") if bad else Delivered(batch, "arn", 1)
        begun = store.apply(Work(reports=[settlement]), slots=1, now_ms=NOW)
        if not begun:
            break
        (batch,) = begun
        sent.append(batch)
    assert names(sent) == ["a b c", "a", "b c", "b", "c"]
    assert len({batch.execution for batch in sent}) == 5
    assert store.count_dead_letters() == 1
    assert store.waiting == 0


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


def test_drops_old_receipts(store: Store, tmp_path: Path) -> None:
    (batch,) = store.apply(Work(events=[outgoing("a")]), slots=1, now_ms=NOW)
    store.apply(Work(reports=[Delivered(batch, "arn:x", 1)]), slots=1, now_ms=NOW)
    store.apply(Work(housekeeping=True), slots=0, now_ms=NOW + 6 * 24 * 3600 * 1000)
    assert _count(tmp_path, "receipt") == 1
    store.apply(Work(housekeeping=True), slots=0, now_ms=NOW + 8 * 24 * 3600 * 1000)
    assert _count(tmp_path, "receipt") == 0


def test_loads_last_observed_occupancy(tmp_path: Path) -> None:
    store = open_store(tmp_path, 3)
    user = {"id": "9", "name": "n", "display_name": "N", "bot": False}
    occupant = Occupant(user, "5", 7, 3)  # type: ignore[arg-type]
    row = GuildRow("Base", True, None, None)
    first = Observation("1", occupants={"9": occupant, "8": Occupant(user, "5", None, 0)}, guild=row)  # type: ignore[arg-type]
    second = Observation("1", occupants={"8": None})
    gone = Observation("2", occupants={"9": occupant}, guild=row)
    store.apply(Work(observations=[first, gone]), slots=0, now_ms=NOW)
    store.apply(
        Work(observations=[second, Observation("2", forgotten=True)], watched=Watched(1, {0: NOW})),
        slots=0,
        now_ms=NOW,
    )
    store.close()
    store = open_store(tmp_path, 3)
    guilds = store.load_occupancy()
    store.close()
    assert list(guilds) == ["1"]
    assert guilds["1"].occupants == {"9": occupant}
    assert (guilds["1"].known, guilds["1"].watched) == (True, False)
    assert (guilds["1"].unwatched_since_ms, guilds["1"].gap_reason) == (NOW, "restart")


def test_gap_survives_restart(tmp_path: Path) -> None:
    """With its beginning and its reason."""
    store = open_store(tmp_path, 3)
    row = GuildRow("Base", True, NOW - 500, "guild_unavailable")
    store.apply(
        Work(observations=[Observation("1", guild=row)], watched=Watched(1, {0: NOW})), slots=0, now_ms=NOW
    )
    store.close()
    store = open_store(tmp_path, 3)
    guild = store.load_occupancy()["1"]
    store.close()
    assert (guild.unwatched_since_ms, guild.gap_reason) == (NOW - 500, "guild_unavailable")


def test_guild_follows_own_shard(store: Store) -> None:
    row = GuildRow("Base", True, None, None)
    guilds = [str(n << 22) for n in range(4)]
    seen = [Observation(one, guild=row) for one in guilds]
    store.apply(Work(watched=Watched(2, {0: NOW, 1: NOW + 5})), slots=0, now_ms=NOW)
    store.apply(Work(observations=seen, watched=Watched(4, {3: NOW + 9})), slots=0, now_ms=NOW)
    known = store.load_occupancy()
    assert [known[one].unwatched_since_ms for one in guilds] == [NOW, NOW + 5, NOW, NOW + 9]


def test_failed_transaction_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_refuses_second_process(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="another voice-relay is running"):
        open_store(tmp_path, 3)
    store.close()
    open_store(tmp_path, 3).close()


def test_leaves_newer_file_alone(store: Store, tmp_path: Path) -> None:
    store.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        db.execute("PRAGMA user_version = 999")
    db.close()
    with pytest.raises(StoreError, match="newer voice-relay"):
        open_store(tmp_path, 3)


@pytest.mark.parametrize(
    "content", [b"not a database, by any means" * 100, b"SQLite format 3\0" + b"?" * 9000]
)
def test_sets_aside_broken_file(tmp_path: Path, content: bytes) -> None:
    """A new file is begun."""
    (tmp_path / FILE_NAME).write_bytes(content)
    written_ms = int((tmp_path / FILE_NAME).stat().st_mtime * 1000)
    database = open_database(tmp_path)
    assert database.lost_ms == written_ms
    assert Store(database).waiting == 0
    database.close()
    (aside,) = tmp_path.glob(FILE_NAME + ".damaged-*Z")
    assert aside.read_bytes() == content
    database = open_database(tmp_path)
    assert database.lost_ms is None
    database.close()


def test_sets_aside_file_damaged_in_use(tmp_path: Path) -> None:
    """At the next start."""
    store = open_store(tmp_path, 3)
    store.apply(Work(events=[outgoing(str(n), size=1000) for n in range(100)]), slots=0, now_ms=NOW)
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with (tmp_path / FILE_NAME).open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 60_000)
    store._db.execute("PRAGMA shrink_memory")
    with pytest.raises(StoreDamagedError, match="set aside at the next start"):
        store.apply(Work(events=[outgoing("x")]), slots=9, now_ms=NOW)
    store.close()
    database = open_database(tmp_path)
    assert database.lost_ms is not None
    database.close()


def test_resumes_interrupted_upgrade(tmp_path: Path) -> None:
    schema = tmp_path / "schema"
    schema.mkdir()
    (schema / "0001_first.sql").write_text("CREATE TABLE a (x);")
    open_database(tmp_path / "data", schema=schema).close()
    (schema / "0002_second.sql").write_text(
        "CREATE TABLE b (x); INSERT INTO b VALUES (1); CREATE TABLE a (y);"
    )
    with pytest.raises(StoreError, match="table a already exists"):
        open_database(tmp_path / "data", schema=schema)
    (schema / "0002_second.sql").write_text("CREATE TABLE b (x); INSERT INTO b VALUES (1);")
    for _ in range(2):
        database = open_database(tmp_path / "data", schema=schema)
        assert database.connection.execute("SELECT count(*) FROM b").fetchone() == (1,)
        assert database.connection.execute("PRAGMA user_version").fetchone() == (2,)
        database.close()


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


def test_full_file_still_delivers(tmp_path: Path) -> None:
    """It takes no events, and has room again once enough went out."""
    store = open_store(tmp_path, 100, file_bytes=600_000)
    taken = 0
    while store._size_bytes() < 600_000:
        events = [outgoing(f"{taken + n}", size=1000) for n in range(20)]
        store.apply(Work(events=events), slots=0, now_ms=NOW)
        taken += 20
    with pytest.raises(StoreFullError, match="VOICE_RELAY_OUTBOX_MAX_BYTES"):
        store.apply(Work(events=[outgoing("one more")]), slots=0, now_ms=NOW)
    assert store.waiting == taken
    assert not store.has_room()
    batches = store.apply(Work(), slots=1, now_ms=NOW)
    while batches:
        batches = store.apply(Work(reports=[Delivered(batches[0], "arn", 1)]), slots=1, now_ms=NOW)
    assert store.has_room()
    store.apply(Work(events=[outgoing("again")]), slots=0, now_ms=NOW)
    store.close()


def test_names_unusable_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="VOICE_RELAY_DATA_DIR"):
        open_store(tmp_path / "file" / "data", 3)


def test_commits_are_flushed_by_default(store: Store) -> None:
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def _count(directory: Path, table: str) -> int:
    db = sqlite3.connect(directory / FILE_NAME)
    try:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608  # ours
    finally:
        db.close()
