"""The SQLite file itself: locks it, opens it, upgrades its schema, and explains its errors.

the directory is unusable, or another process's    StoreError, with the remedy
the file is of a newer version                     StoreError; the file stays as it is
the file has another schema                        StoreError; the file stays as it is
the file is damaged, or no database                set aside under another name; a new one is begun
a row cannot be the relay's                        the same

A new file knows since when the damaged one is lost: the time of its last good commit, if that was in use when
the damage was found, else until when it says that it was watching, else when it was last written. The mark
beside the file keeps that time until the new file has it, so that no crash in between loses it.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import IO, Final, Literal

import structlog

from bot.clock import system_clock
from bot.errors import StoreDamagedError, StoreError
from bot.outbox.checkpoints import Checkpoints
from bot.outbox.private_files import make_private, open_private
from bot.outbox.soundness import find_foreign, find_unsound, guard, list_schema

FILE_NAME: Final = "relay.sqlite3"
LOCK_NAME: Final = "relay.lock"
_DAMAGED_MARK: Final = "relay.damaged"
_SIDE_FILES: Final = ("", "-wal", "-shm")
_CHECKED_BYTES: Final = 64 << 20
"""Up to this size a file is checked whole at every start, which takes a fraction of a second."""
# https://sqlite.org/rescode.html
DAMAGE: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_TOOBIG")
NOT_TEXT: Final = "Could not decode"
"""How the sqlite3 module, not SQLite, says that a text is not UTF-8; with the text."""
NOT_UTF8: Final = "a text in it is not UTF-8"
SQL_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What a statement raises; the second where SQLite's message quotes a schema that is not UTF-8."""
_MARK_MAX_CHARS: Final = 20

_CHECKPOINT_PAGES: Final = 8000
_CACHE_KIB: Final = 8000
"""A burst's events are written, read and dropped within seconds: with SQLite's 2000 they are read back in."""

Synchronous = Literal["full", "normal"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Database:
    """An open, locked file."""

    connection: sqlite3.Connection
    path: Path
    checkpoints: Checkpoints
    _lock: IO[str]

    @property
    def lost_ms(self) -> int | None:
        """When the damaged file before it was last known to be good, ``None`` if there was none."""
        row = self.connection.execute("SELECT max(lost_ms) FROM lost_file").fetchone()
        return None if row[0] is None else int(row[0])

    def used_bytes(self) -> int:
        """Return how many bytes of the file are in use."""
        try:
            pages, free, page_bytes = (
                int(self.connection.execute(f"PRAGMA {name}").fetchone()[0])
                for name in ("page_count", "freelist_count", "page_size")
            )
        except sqlite3.Error as error:
            raise self.explain(error) from error
        return (pages - free) * page_bytes

    def close(self) -> None:
        self.checkpoints.close()
        self.connection.close()
        self._lock.close()

    def explain(
        self, error: sqlite3.Error | UnicodeDecodeError, *, committed_ms: int | None = None
    ) -> StoreError:
        """Return what *error* means; a damaged file is marked, so that the next start sets it aside.

        *committed_ms* is the time of the last commit.
        """
        if _is_damage(error):
            return self.declare_damaged(_describe(error), committed_ms=committed_ms)
        return StoreError(f"the outbox file {self.path} cannot be written: {error}")

    def declare_damaged(self, reason: str, *, committed_ms: int | None = None) -> StoreDamagedError:
        """Mark the file as damaged, so that the next start sets it aside, and return the error."""
        with suppress(OSError):
            _write_mark(self.path, committed_ms)
        return StoreDamagedError(
            f"the outbox file {self.path} is damaged ({reason}): it will be set aside at the next start"
        )


def open_database(
    data_dir: Path, *, synchronous: Synchronous = "full", schema: Traversable | None = None
) -> Database:
    """Open the file in *data_dir*, creating both where missing, and upgrade its schema.

    With *synchronous* ``full`` every commit survives a power cut. With ``normal`` the log is synchronised at
    checkpoints only: a power cut leaves the file consistent, but may undo every commit since the last one.
    What was sent meanwhile is then captured and sent again, as other events. A crash of the process undoes
    nothing.
    """
    # https://sqlite.org/pragma.html#pragma_synchronous
    # https://sqlite.org/wal.html#performance_considerations
    path = data_dir / FILE_NAME
    with ExitStack() as undo:
        lock = undo.enter_context(_lock(data_dir))
        _keep_private(path)
        try:
            _check_mark(path)
            connection = _connect(path, synchronous, schema)
        except StoreDamagedError as error:
            connection = _begin_anew(path, error, synchronous, schema)
        undo.pop_all()
    return Database(connection, path, Checkpoints(path), lock)


def _begin_anew(
    path: Path, error: StoreDamagedError, synchronous: Synchronous, schema: Traversable | None
) -> sqlite3.Connection:
    """Set the damaged file aside, and open a new one that knows since when the other is lost."""
    lost_ms = _read_mark(path) or _find_end(path)
    _set_aside(path, error, lost_ms)
    _keep_private(path)
    connection = _connect(path, synchronous, schema)
    try:
        connection.execute("INSERT INTO lost_file (lost_ms) VALUES (?)", (lost_ms,))
        path.with_name(_DAMAGED_MARK).unlink(missing_ok=True)
    except (sqlite3.Error, OSError) as failure:
        connection.close()
        raise StoreError(f"cannot write {path}: {failure}") from failure
    return connection


def check_data_dir(data_dir: Path) -> None:
    """Raise the StoreError that ``open_database`` would raise for the directory itself."""
    _lock(data_dir).close()


def _keep_private(path: Path) -> None:
    """Create the file where missing; SQLite gives what it puts beside it the same permissions."""
    try:
        for name in _SIDE_FILES:
            make_private(path.with_name(path.name + name), create=not name)
        regular = path.is_file()
    except OSError as error:
        raise StoreError(f"cannot open {path}: {error.strerror}") from error
    if not regular:
        raise StoreError(f"{path} is not a file: move it away to begin a new outbox")


def _connect(path: Path, synchronous: Synchronous, schema: Traversable | None) -> sqlite3.Connection:
    with ExitStack() as undo:
        try:
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            undo.callback(connection.close)
            guard(connection)
            files = list_schema(schema or resources.files("bot.outbox").joinpath("schema"))
            check_schema(connection, path, files)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            # A page that changes many times before a checkpoint is copied into the file once. ``Checkpoints``
            # are earlier, but for those that they cannot complete.
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA cache_size = {-_CACHE_KIB}")
            whole = path.stat().st_size <= _CHECKED_BYTES
            if whole:
                _check_pages(connection)
            _upgrade(connection, files)
            if schema is None and (unsound := find_unsound(connection, whole=whole)):
                raise StoreDamagedError(unsound)
        except SQL_ERRORS as error:
            if _is_damage(error):
                raise StoreDamagedError(_describe(error)) from error
            raise StoreError(f"cannot open {path}: {error}") from error
        undo.pop_all()
    return connection


def _check_mark(path: Path) -> None:
    if path.with_name(_DAMAGED_MARK).exists():
        raise StoreDamagedError("found damaged while it was in use")


def _write_mark(path: Path, good_ms: int | None) -> None:
    """Mark the file as damaged, and write down when it was last good, if that is known."""
    mark = path.with_name(_DAMAGED_MARK)
    mark.touch(mode=0o600)
    mark.write_text("" if good_ms is None else str(good_ms))


def _read_mark(path: Path) -> int | None:
    """Return the time in the mark; ``None`` without one, or if no file's time can be that."""
    mark = path.with_name(_DAMAGED_MARK)
    try:
        if not mark.is_file():
            return None
        with mark.open() as text:
            good_ms = int(text.read(_MARK_MAX_CHARS))
    except (OSError, ValueError):
        return None
    return good_ms if 0 <= good_ms <= system_clock() else None


def _find_end(path: Path) -> int:
    """Return until when the damaged file says that it was watching, else when it was last written."""
    sides = [path.with_name(path.name + name) for name in _SIDE_FILES[:2]]
    written_ms = max((int(side.stat().st_mtime * 1000) for side in sides if side.exists()), default=0)
    uri = f"{path.resolve().as_uri()}?mode=ro"
    with suppress(*SQL_ERRORS), closing(sqlite3.connect(uri, uri=True)) as connection:
        until_ms = connection.execute("SELECT max(until_ms) FROM watch").fetchone()[0]
        if isinstance(until_ms, int) and 0 < until_ms < written_ms:
            return until_ms
    return written_ms


def _check_pages(connection: sqlite3.Connection) -> None:
    verdict: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise StoreDamagedError(verdict)


def _set_aside(path: Path, error: StoreDamagedError, lost_ms: int) -> None:
    """Write down when the damaged file was good, then rename it and what belongs to it."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    try:
        _write_mark(path, lost_ms)
        for name in _SIDE_FILES:
            with suppress(FileNotFoundError):
                path.with_name(path.name + name).rename(path.with_name(f"{path.name}.damaged-{stamp}{name}"))
    except OSError as failure:
        raise StoreError(
            f"{path} is damaged ({error}) and cannot be set aside: {failure.strerror}"
        ) from failure
    log.error(
        "outbox_damaged",
        reason=str(error),
        set_aside=f"{path.name}.damaged-{stamp}",
        lost="its undelivered events; the guilds are learned anew, after a gap",
    )


def _is_damage(error: Exception) -> bool:
    name = str(getattr(error, "sqlite_errorname", ""))
    return name.startswith(DAMAGE) or _is_not_utf8(error)


def _is_not_utf8(error: Exception) -> bool:
    return isinstance(error, UnicodeDecodeError) or str(error).startswith(NOT_TEXT)


def _describe(error: Exception) -> str:
    """Return what *error* says, without text of the file."""
    return NOT_UTF8 if _is_not_utf8(error) else str(error)


def _lock(data_dir: Path) -> IO[str]:
    """Take the data directory for this process, until the returned file is closed or the process ends."""
    try:
        # Who was where is private.
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.fdopen(open_private(data_dir / LOCK_NAME), "w")
    except OSError as error:
        raise StoreError(
            f"cannot use the data directory {data_dir}: {error.strerror}. Make it writable for this user, "
            "or name another with VOICE_RELAY_DATA_DIR."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StoreError(
            f"another voice-relay is running on the data directory {data_dir}. Stop it first, or give this "
            "one a directory of its own with VOICE_RELAY_DATA_DIR."
        ) from error
    return lock


def check_schema(connection: sqlite3.Connection, path: Path, files: Sequence[Traversable]) -> int:
    """Return the version of the file's schema, up to the number of *files*.

    Raises StoreError for a newer one, and for a schema that is not what its version had.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(files):
        raise StoreError(
            f"{path} was written by a newer voice-relay (schema {version}, this one knows {len(files)}). "
            "Run that version, or set the file aside to begin a new one."
        )
    foreign = find_foreign(connection, files[:version]) if version >= 0 else "its version is negative"
    if foreign is not None:
        raise StoreError(
            f"{path} is not an outbox of voice-relay, or was changed by another program: {foreign}. "
            "Move the file away to begin a new one, or put a copy back."
        )
    return version


def _upgrade(connection: sqlite3.Connection, files: Sequence[Traversable]) -> None:
    """Apply the schema files that the database has not seen, each in one transaction."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    for number, file in enumerate(files[version:], start=version + 1):
        script = file.read_text(encoding="utf-8")
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
