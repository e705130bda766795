"""Outbox files that something has changed: they are used, refused with a StoreError, or set aside."""

import contextlib
import io
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import given, settings

from bot.cli import trace
from bot.cli.outbox import list as outbox_list
from bot.cli.outbox import show, status
from bot.console import Console
from bot.errors import StoreError
from bot.gateway.intake import Intake
from bot.gateway.resume_address import keep_trusted
from bot.outbox.database import FILE_NAME, Database, open_database
from bot.outbox.store import Store
from bot.outbox.work import Captured, Released, Work
from bot.routing.rules import DEFAULT_RULES
from bot.ulid import UlidFactory
from bot.voice.tracker import Tracker
from tests.support.consoles import RecordingConsole
from tests.support.frames import GENERAL, NELLY, guild_create, voice_state
from tests.support.full_outbox import fill
from tests.support.outboxes import NOW

VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, -1, NOW, 2**53, 253_402_300_799_999, 253_402_300_800_000]),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.binary(max_size=20),
    st.sampled_from(
        ["{}", "[]", '{"id":"1"}', '["a"]', "1", "default", "../x", "a\r\nHost: b", "\x1b[2J", "9" * 21]
    ),
    st.sampled_from(
        ['"\\ud800"', "[" * 2000 + "]" * 2000, "x" * 100_000, "{" * 900, '{"a":' * 300 + "1" + "}" * 300]
    ),
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a row in every table."""
    directory = tmp_path_factory.mktemp("template")
    fill(directory)
    return directory / FILE_NAME


def list_columns(file: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(file)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return [
            (table, column)
            for table in tables
            for (column,) in db.execute("SELECT name FROM pragma_table_info(?)", (table,))
        ]


# An example takes a tenth of a second.
few = settings(max_examples=settings().max_examples // 4)


@few
@given(data=st.data())
def test_changed_values(template: Path, data: st.DataObject) -> None:
    columns = st.sampled_from(list_columns(template))
    changes = data.draw(st.lists(st.tuples(columns, VALUES, st.booleans()), min_size=1, max_size=3))
    with copied(template) as directory:
        with closing(sqlite3.connect(directory / FILE_NAME, isolation_level=None)) as db:
            for (table, column), value, as_text in changes:
                cast = "CAST(? AS TEXT)" if as_text else "?"
                # What STRICT does not take stays as it is.
                with contextlib.suppress(sqlite3.Error, OverflowError):
                    db.execute(f"UPDATE {table} SET {column} = {cast}", (value,))  # noqa: S608
        live_with(directory)


@given(
    st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=64)),
        min_size=1,
        max_size=4,
    )
)
def test_changed_bytes(template: Path, patches: list[tuple[float, bytes]]) -> None:
    with copied(template) as directory:
        path = directory / FILE_NAME
        content = bytearray(path.read_bytes())
        for place, patch in patches:
            at = int(place * len(content))
            content[at : at + len(patch)] = patch
        path.write_bytes(content)
        live_with(directory)


@few
@given(st.binary(max_size=300), st.sampled_from(["", "-wal", "-shm", "damaged"]))
def test_foreign_bytes(template: Path, content: bytes, side: str) -> None:
    """In place of the file, or of one beside it."""
    with copied(template) as directory:
        name = "relay.damaged" if side == "damaged" else FILE_NAME + side
        (directory / name).write_bytes(content)
        live_with(directory)


@contextlib.contextmanager
def copied(template: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        shutil.copy(template, directory)
        yield Path(directory)


def live_with(directory: Path) -> None:
    """Do what the relay and its commands do with the file; after a StoreError the next start goes on."""
    look(directory)
    for _ in range(2):
        try:
            database = open_database(directory, synchronous="normal")
        except StoreError:
            continue
        try:
            deliver(database)
        except StoreError:
            continue
        finally:
            database.close()
    look(directory)


def deliver(database: Database) -> None:
    """Take what an earlier process left, and a few frames, and begin all batches."""
    store = Store(database)
    work = Work(housekeeping=True)

    def take(item: Any) -> None:
        if isinstance(item, Captured):
            work.capture(item)
        elif isinstance(item, Released):
            work.release(item.events)

    tracker = Tracker(store.load_occupancy(), UlidFactory(), file_lost_ms=database.lost_ms)
    intake = Intake(tracker, DEFAULT_RULES, take, held=store.load_held(), clock=lambda: NOW + 10_000)
    kept = keep_trusted(store.load_positions(), "https://discord.com/api/v10")
    intake.begin(lambda _: False, kept.keys())
    intake.guild_created(guild_create({NELLY: GENERAL}))
    intake.voice_state(voice_state(NELLY, None))
    intake.release()
    for batch in [*store.open_batches(), *store.apply(work, slots=64, now_ms=NOW + 10_000)]:
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", batch.execution)
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", batch.lane.workflow)
        if batch.signal is not None:
            assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}", batch.signal.name)
            assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", batch.signal.execution or "none")
            assert orjson.loads(batch.body).keys() == {"event"}
        elif batch.accepted is None:
            sent = orjson.loads(batch.body)
            assert (sent["id"], len(sent["events"])) == (batch.execution, len(batch.event_ids))
            assert isinstance(sent.get("parameters", {}), dict)


def look(directory: Path) -> None:
    """Run every command that shows the file; what is printed cannot control a terminal."""
    console = RecordingConsole()
    for json in (False, True):
        runs: list[tuple[Callable[[Any, Console], int], Any]] = [
            (status.run, status.Options(directory, json)),
            (outbox_list.run, outbox_list.Options(directory, waiting=False, reason="", limit=9, json=json)),
            (outbox_list.run, outbox_list.Options(directory, waiting=True, reason="", limit=9, json=json)),
            (show.run, show.Options(directory, "1", json)),
            (trace.run, trace.Options("1", directory, json)),
        ]
        for run, options in runs:
            with contextlib.suppress(StoreError):
                run(options, console)
    assert all(line.isprintable() for line in cast("io.StringIO", console.out).getvalue().split("\n"))
