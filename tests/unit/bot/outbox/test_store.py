"""The file that nothing is lost from."""

import os
import sqlite3
from importlib import resources
from pathlib import Path
from typing import Any

import orjson
import pytest

from bot.errors import StoreDamagedError, StoreError, StoreFullError
from bot.outbox import database as database_module
from bot.outbox.batch import Delivered
from bot.outbox.database import FILE_NAME, open_database
from bot.outbox.session import Position, Session
from bot.outbox.store import Store
from bot.outbox.work import Watched, Work
from bot.routing.rules import Route
from bot.voice.observation import GuildRow, Observation
from bot.voice.occupancy import Occupant
from tests.support.stores import NOW, count_rows, names, open_store, outgoing


def test_drops_old_receipts(store: Store, tmp_path: Path) -> None:
    (batch,) = store.apply(Work(events=[outgoing("a")]), slots=1, now_ms=NOW)
    store.apply(Work(reports=[Delivered(batch, "arn:x", 1)]), slots=1, now_ms=NOW)
    store.apply(Work(housekeeping=True), slots=0, now_ms=NOW + 6 * 24 * 3600 * 1000)
    assert count_rows(tmp_path, "receipt") == 1
    store.apply(Work(housekeeping=True), slots=0, now_ms=NOW + 8 * 24 * 3600 * 1000)
    assert count_rows(tmp_path, "receipt") == 0


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
    assert (guilds["1"].known, guilds["1"].watched) == (True, True)
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


def test_keeps_session_positions(tmp_path: Path) -> None:
    """Each shard's last one, until it is forgotten."""
    first, second = (Session(shard_id, 2, "1", f"s{shard_id}", "ws://x") for shard_id in (0, 1))
    store = open_store(tmp_path, 3)
    store.apply(Work(positions={0: Position(first, 1), 1: Position(second, 1)}), slots=0, now_ms=NOW)
    store.apply(Work(positions={0: Position(first, 5), 1: None}), slots=0, now_ms=NOW)
    store.close()
    store = open_store(tmp_path, 3)
    assert store.load_positions() == {0: Position(first, 5)}
    store.close()


def test_failed_transaction_moves_no_position(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events and position are written together or not at all."""
    session = Session(0, 1, "1", "s", "ws://x")
    store.apply(Work(positions={0: Position(session, 1)}), slots=0, now_ms=NOW)
    monkeypatch.setattr(
        store, "_write_events", lambda *_: store._db.execute("INSERT INTO nowhere VALUES (1)")
    )
    with pytest.raises(StoreError):
        store.apply(Work(positions={0: Position(session, 2)}), slots=0, now_ms=NOW)
    assert store.load_positions() == {0: Position(session, 1)}


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
    assert database.lost_ms == written_ms  # until every guild has been seen again
    database.close()
    assert len(list(tmp_path.glob(FILE_NAME + ".damaged-*Z"))) == 1


def test_damage_dates_from_last_watching(tmp_path: Path) -> None:
    """Whatever damaged the file wrote to it later than the relay did."""
    store = open_store(tmp_path, 3)
    store.apply(Work(watched=Watched(2, {0: NOW, 1: NOW - 5})), slots=0, now_ms=NOW + 1000)
    store.apply(Work(events=[outgoing(str(n), size=1000) for n in range(100)]), slots=0, now_ms=NOW)
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    size = (tmp_path / FILE_NAME).stat().st_size
    with (tmp_path / FILE_NAME).open("r+b") as file:
        file.seek(size - 60_000)
        file.write(b"\xff" * 60_000)
    database = open_database(tmp_path)
    assert database.lost_ms == NOW
    database.close()


@pytest.mark.parametrize("step", ["_connect", "_set_aside"])
def test_crash_while_set_aside_keeps_time(tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before the new file is there, the next start still knows since when the old one is lost."""
    (tmp_path / FILE_NAME).write_bytes(b"not a database, by any means" * 100)
    os.utime(tmp_path / FILE_NAME, (NOW / 1000, NOW / 1000))
    real = getattr(database_module, step)
    calls = 0

    def crash(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if step == "_connect" and calls == 1:
            return real(*args)
        if step == "_set_aside":
            real(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(database_module, step, crash)
        with pytest.raises(KeyboardInterrupt):
            open_database(tmp_path)
    for _ in range(2):
        database = open_database(tmp_path)
        assert database.lost_ms == NOW
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
    assert database.lost_ms == NOW  # the last good commit
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


def test_full_file_still_delivers(tmp_path: Path) -> None:
    """It takes no events, and has room again once enough went out."""
    store = open_store(tmp_path, 100, file_bytes=600_000)
    taken = 0
    while store._database.used_bytes() < 600_000:
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


def test_upgrade_keeps_what_is_held(tmp_path: Path) -> None:
    """Rows of a file that knew no debounce times: each becomes a stream that is due at once."""
    schema = tmp_path / "schema"
    schema.mkdir()
    for file in resources.files("bot.outbox").joinpath("schema").iterdir():
        if file.name < "0006":
            (schema / file.name).write_text(file.read_text())
    database = open_database(tmp_path, schema=schema)
    data = {"guild": {"id": "9"}, "user": {"id": "7"}, "channel": {"id": "51"}}
    event = {
        "id": "1",
        "type": "discord.voice.joined",
        "data": {**data, "changes": {}, "state": {}, "inferred": False},
    }
    database.connection.execute("INSERT INTO lane VALUES (1, 'notify', '9', NULL)")
    for destination in ("default", "other"):
        row = (1, destination, "7", 99, 2.5, None, orjson.dumps(event).decode())
        database.connection.execute("INSERT INTO held VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    database.close()
    store = Store(open_database(tmp_path))
    held = store.load_held()
    store.close()
    assert [(key.guild_id, key.user_id) for key in held] == [("9", "7")] * 2
    assert all(key.debounce_ms < 10 for key in held)
    assert [one.routes for one in held.values()] == [
        (Route("notify", "default"),),
        (Route("notify", "other"),),
    ]
    assert {(one.event["id"], one.due_ms, one.stay_s, one.since_ms) for one in held.values()} == {
        ("1", 99, 2.5, None)
    }
