"""Files that the relay did not write: another schema is refused, rows that cannot be used are set aside."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.errors import StoreDamagedError, StoreError
from bot.outbox.database import FILE_NAME, open_database
from bot.outbox.inspection import open_inspection
from bot.outbox.store import Store
from tests.support.full_outbox import change, fill, find_aside


def use(directory: Path) -> None:
    open_database(directory).close()


def inspect(directory: Path) -> None:
    with open_inspection(directory):
        pass


def test_takes_its_own_rows(tmp_path: Path) -> None:
    """Every table has one, so that the conditions below are not simply never met."""
    fill(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM pragma_table_list WHERE schema = 'main'")]
        empty = [name for name in tables if not db.execute(f"SELECT 1 FROM {name}").fetchone()]  # noqa: S608
    assert set(empty) <= {"lost_file"}
    open_database(tmp_path).close()
    assert not find_aside(tmp_path)


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ("CREATE TRIGGER t AFTER INSERT ON event BEGIN DELETE FROM event; END", "its trigger t is not"),
        ("CREATE VIEW v AS SELECT 1", "its view v is not"),
        ("CREATE TABLE t (x)", "its table t is not"),
        ("CREATE INDEX i ON event (hex(zeroblob(100)))", "its index i is not"),
        ('CREATE VIEW "\x1b[2J" AS SELECT 1', "its view with an odd name is not"),
        ("DROP TRIGGER dead_letter_put", "it lacks the trigger dead_letter_put"),
        (
            "ALTER TABLE guild ADD COLUMN evil TEXT AS (hex(zeroblob(100)))",
            "its table guild is defined otherwise",
        ),
        (
            "DROP TABLE watch; CREATE TABLE watch (shard_count, shard_id, until_ms)",
            "its table watch is defined",
        ),
        ("PRAGMA user_version = -1", "its version is negative"),
        ("PRAGMA user_version = 0", "is not one of the relay's"),
    ],
)
@pytest.mark.parametrize("opened", [use, inspect])
def test_refuses_another_schema(
    tmp_path: Path, planted: str, said: str, opened: Callable[[Path], None]
) -> None:
    """Nothing planted runs, and the file stays as it is."""
    fill(tmp_path)
    change(tmp_path, planted)
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(StoreError, match=f"{FILE_NAME} is not an outbox .*{said}.* Move the file away"):
        opened(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == before
    assert not find_aside(tmp_path)


def test_accepts_statistics(tmp_path: Path) -> None:
    """ANALYZE and the like leave tables of SQLite's own."""
    fill(tmp_path)
    change(tmp_path, "ANALYZE; VACUUM")
    open_database(tmp_path).close()
    with open_inspection(tmp_path) as inspection:
        assert inspection.read_status().letters == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE guild SET guild_id = 'x'",
        "UPDATE guild SET known = 7",
        "UPDATE guild SET unwatched_since_ms = -1, gap_reason = 'restart'",
        "UPDATE guild SET unwatched_since_ms = 9223372036854775807, gap_reason = 'restart'",
        "UPDATE guild SET gap_reason = 'because'",
        "UPDATE guild SET places = '{'",
        "UPDATE guild SET places = '[1, 2, 3]'",
        """UPDATE guild SET places = '[{"1": {"id": 1}}, {}, null]'""",
        "UPDATE occupant SET user = 'nelly'",
        "UPDATE occupant SET user = '[]'",
        """UPDATE occupant SET user = '{"id": "1"}'""",
        "UPDATE occupant SET user = replace(hex(zeroblob(10000)), '0', '[')",
        "UPDATE occupant SET flags = 128",
        "UPDATE occupant SET channel_id = '1' || char(0) || char(10)",
        "UPDATE occupant SET since_ms = -1",
        "UPDATE watch SET shard_count = 0",
        "UPDATE watch SET until_ms = 9e17",
        "UPDATE lane SET workflow = '../../x'",
        "UPDATE lane SET workflow = 'a' || char(13, 10)",
        "UPDATE lane SET batch_max_events = -1",
        "UPDATE lane SET parked = 9",
        "UPDATE lane SET drop_to_seq = 1",
        "UPDATE lane SET drop_to_seq = 1, drop_to_event = 'a' || char(10)",
        "UPDATE batch SET execution = execution || char(13, 10) || 'Host: evil'",
        "UPDATE batch SET lane_id = lane_id + 77",
        "UPDATE batch SET first_seq = 1000, last_seq = 1001",
        "UPDATE batch SET created_ms = -5",
        "UPDATE event SET lane_id = 77",
        "UPDATE event SET event_id = 'a,b'",
        "UPDATE event SET entered_ms = 9223372036854775807",
        'UPDATE event SET body = \'{}],"destination":"mods","events":[{}\'',
        "UPDATE event SET body = json_quote(hex(zeroblob(1000000)))",
        "UPDATE event SET event_id = CAST(x'ff' AS TEXT)",
        "UPDATE held SET routes = '{'",
        "UPDATE held SET routes = '[1]'",
        "UPDATE held SET routes = json_array(json_array('../x', 'default', NULL))",
        "UPDATE held SET routes = json_array(json_array('notify', 'default', NULL, '[]'))",
        "UPDATE held SET routes = json_array(json_array('notify', 'default', NULL, '{}', 'a b', NULL))",
        "UPDATE held SET routes = json_array(json_array('notify', 'default', NULL, '{}', NULL, 'car'))",
        "UPDATE held SET routes = json_array(json_array('notify', 'default', NULL, '{}', NULL, NULL, 1))",
        "UPDATE held SET debounce_ms = -1",
        "UPDATE held SET event = '{}'",
        "UPDATE held SET origin = '7'",
        "UPDATE held SET due_ms = -1",
        "UPDATE held SET stay_s = 9e999",
        "UPDATE parameters SET body = '{}}'",
        "UPDATE parameters SET body = '[1]'",
        "UPDATE parameters SET body = json_object('a', hex(zeroblob(3000)))",
        "UPDATE parameters SET parameters_id = -parameters_id",
        "UPDATE event SET parameters_id = 77",
        "UPDATE dead_letter SET parameters_id = 77",
        "UPDATE batch SET has_parameters = 2",
        "UPDATE batch SET target = 'x' || char(13, 10)",
        "UPDATE event SET key = 'a' || char(10) WHERE signal IS NOT NULL",
        "UPDATE event SET key = NULL WHERE signal IS NOT NULL",
        "UPDATE event SET signal = '../x' WHERE signal IS NOT NULL",
        "UPDATE dead_letter SET signal = 'withdraw'",
        "UPDATE started SET execution = 'a/b'",
        "UPDATE started SET lane_id = 77",
        "UPDATE started SET begun_ms = -1",
        "UPDATE session SET session_id = 'a b'",
        "UPDATE session SET shard_id = 5",
        "UPDATE session SET seq = -1",
        "UPDATE dead_letter SET lane_id = 77",
        "UPDATE dead_letter SET redrive = 9",
        "DELETE FROM dead_letter_usage",
        "INSERT INTO lost_file VALUES (-1)",
    ],
)
def test_sets_malformed_row_aside(tmp_path: Path, statement: str) -> None:
    """Nothing of it is lost, and the relay begins anew."""
    fill(tmp_path)
    change(tmp_path, statement)
    with capture_logs() as lines:
        open_database(tmp_path).close()
    (line,) = (line for line in lines if line["event"] == "outbox_damaged")
    assert str(line["reason"]).startswith("the table ")
    (kept,) = find_aside(tmp_path)
    with closing(sqlite3.connect(kept)) as db:
        assert db.execute("SELECT count(*) FROM event").fetchone() == (3,)
    with open_inspection(tmp_path) as inspection:
        assert inspection.read_status().waiting == 0


@pytest.mark.parametrize(
    ("statement", "load"),
    [
        (
            r"""UPDATE occupant SET user = json_object('id', user_id, 'name', json('"\ud800"'))""",
            Store.load_occupancy,
        ),
        ("UPDATE occupant SET user = replace(user, '}', ', \"id\": []}')", Store.load_occupancy),
        (r"""UPDATE held SET event = json_set(event, '$.data.note', json('"\udc00"'))""", Store.load_held),
    ],
)
def test_row_that_only_sqlite_reads(tmp_path: Path, statement: str, load: Callable[[Store], object]) -> None:
    """What the file may have got past the first look sets it aside at the next start."""
    fill(tmp_path)
    change(tmp_path, statement)
    store = Store(open_database(tmp_path))
    with pytest.raises(StoreDamagedError, match=f"{FILE_NAME} is damaged .* will be set aside"):
        load(store)
    store.close()
    open_database(tmp_path).close()
    assert len(find_aside(tmp_path)) == 1


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    """A value that the first look leaves out is found when it is read; its text is not repeated."""
    fill(tmp_path)
    store = Store(open_database(tmp_path))
    change(tmp_path, "UPDATE event SET event_id = CAST(x'736563fe' AS TEXT)")
    with pytest.raises(StoreDamagedError, match=r"\(a text in it is not UTF-8\)"):
        store.open_batches()
    store.close()


def test_event_that_is_not_utf8(tmp_path: Path) -> None:
    """A batch is read as bytes, and must not be sent like this."""
    fill(tmp_path)
    store = Store(open_database(tmp_path))
    change(tmp_path, "UPDATE event SET body = CAST(x'22802022' AS TEXT)")
    with pytest.raises(StoreDamagedError, match=r"\(a text in it is not UTF-8\)"):
        store.open_batches()
    store.close()


def test_schema_that_is_not_utf8(tmp_path: Path) -> None:
    """The sqlite3 module cannot even decode SQLite's message about it."""
    fill(tmp_path)
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE watch", b"CREATE \x80ABLE watch"))
    with pytest.raises(StoreError, match=r"a text in it is not UTF-8\. Start the relay"):
        inspect(tmp_path)
    use(tmp_path)
    assert len(find_aside(tmp_path)) == 1


@pytest.mark.parametrize("mark", ["9" * 4000, "-5", "x" * 1_000_000, str(2**62), "1e9"])
def test_absurd_mark(tmp_path: Path, mark: str) -> None:
    """The mark of a damaged file may be hostile too."""
    fill(tmp_path)
    (tmp_path / "relay.damaged").write_text(mark)
    database = open_database(tmp_path)
    assert database.lost_ms is not None
    assert 0 <= database.lost_ms <= (tmp_path / FILE_NAME).stat().st_mtime * 1000 + 1000
    database.close()


def _make_pipe(path: Path) -> None:
    os.mkfifo(path)


def _link_to_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [_make_pipe, Path.mkdir, _link_to_zeros])
@pytest.mark.parametrize("opened", [use, inspect])
def test_refuses_what_is_no_file(
    tmp_path: Path, make: Callable[[Path], None], opened: Callable[[Path], None]
) -> None:
    """It is not opened, because that may never return."""
    make(tmp_path / FILE_NAME)
    with pytest.raises(StoreError, match=f"{FILE_NAME} is not a file"):
        opened(tmp_path)
