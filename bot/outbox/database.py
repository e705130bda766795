"""The SQLite file itself: locks it, opens it, upgrades its schema, and explains its errors.

the directory is unusable, or another process's    StoreError, with the remedy
the file is of a newer version                     StoreError; the file stays as it is
the file is damaged, or no database                set aside under another name; a new one is begun
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import IO, Final, Literal

import structlog

from bot.errors import StoreDamagedError, StoreError
from bot.outbox.private_files import make_private, open_private

FILE_NAME: Final = "relay.sqlite3"
LOCK_NAME: Final = "relay.lock"
_DAMAGED_MARK: Final = "relay.damaged"
_SIDE_FILES: Final = ("", "-wal", "-shm")
_CHECKED_BYTES: Final = 64 << 20
"""Up to this size a file is checked whole at every start, which takes a fraction of a second."""
# https://sqlite.org/rescode.html
_DAMAGE: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")

_CHECKPOINT_PAGES: Final = 4000

Synchronous = Literal["full", "normal"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Database:
    """An open, locked file.

    ``lost_ms`` is when the damaged file before it was last written, ``None`` if there was none.
    """

    connection: sqlite3.Connection
    path: Path
    lost_ms: int | None
    _lock: IO[str]

    def close(self) -> None:
        self.connection.close()
        self._lock.close()

    def explain(self, error: sqlite3.Error) -> StoreError:
        """Return what *error* means; a damaged file is marked, so that the next start sets it aside."""
        if _is_damage(error):
            with suppress(OSError):
                self.path.with_name(_DAMAGED_MARK).touch(mode=0o600)
            return StoreDamagedError(
                f"the outbox file {self.path} is damaged ({error}): it will be set aside at the next start"
            )
        return StoreError(f"the outbox file {self.path} cannot be written: {error}")


def open_database(
    data_dir: Path, *, synchronous: Synchronous = "full", schema: Traversable | None = None
) -> Database:
    """Open the file in *data_dir*, creating both where missing, and upgrade its schema.

    With *synchronous* ``full`` every commit survives a power cut, with ``normal`` the last few may not.
    """
    path = data_dir / FILE_NAME
    with ExitStack() as undo:
        lock = undo.enter_context(_lock(data_dir))
        _keep_private(path)
        lost_ms: int | None = None
        try:
            connection = _connect(path, synchronous, schema)
        except StoreDamagedError as error:
            lost_ms = _set_aside(path, error)
            _keep_private(path)
            connection = _connect(path, synchronous, schema)
        undo.pop_all()
    return Database(connection, path, lost_ms, lock)


def check_data_dir(data_dir: Path) -> None:
    """Raise the StoreError that ``open_database`` would raise for the directory itself."""
    _lock(data_dir).close()


def _keep_private(path: Path) -> None:
    """Create the file where missing; SQLite gives what it puts beside it the same permissions."""
    try:
        for name in _SIDE_FILES:
            make_private(path.with_name(path.name + name), create=not name)
    except OSError as error:
        raise StoreError(f"cannot open {path}: {error.strerror}") from error


def _connect(path: Path, synchronous: Synchronous, schema: Traversable | None) -> sqlite3.Connection:
    with ExitStack() as undo:
        try:
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            undo.callback(connection.close)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            # A page that changes many times before a checkpoint is copied into the file once.
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            _check(connection, path)
            _upgrade(connection, path, schema or resources.files("bot.outbox").joinpath("schema"))
        except sqlite3.Error as error:
            if _is_damage(error):
                raise StoreDamagedError(str(error)) from error
            raise StoreError(f"cannot open {path}: {error}") from error
        undo.pop_all()
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    if path.with_name(_DAMAGED_MARK).exists():
        raise StoreDamagedError("found damaged while it was in use")
    if path.stat().st_size <= _CHECKED_BYTES:
        verdict: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise StoreDamagedError(verdict)


def _set_aside(path: Path, error: StoreDamagedError) -> int:
    """Rename the damaged file and what belongs to it; return when it was last written."""
    lost_ms = max(
        int(side.stat().st_mtime * 1000)
        for name in _SIDE_FILES[:2]
        if (side := path.with_name(path.name + name)).exists()
    )
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    try:
        for name in _SIDE_FILES:
            with suppress(FileNotFoundError):
                path.with_name(path.name + name).rename(path.with_name(f"{path.name}.damaged-{stamp}{name}"))
        path.with_name(_DAMAGED_MARK).unlink(missing_ok=True)
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
    return lost_ms


def _is_damage(error: sqlite3.Error) -> bool:
    return str(getattr(error, "sqlite_errorname", "")).startswith(_DAMAGE)


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


def _upgrade(connection: sqlite3.Connection, path: Path, schema: Traversable) -> None:
    """Apply the schema files that the database has not seen, each in one transaction."""
    files: Sequence[Traversable] = sorted(
        (item for item in schema.iterdir() if item.name.endswith(".sql")), key=lambda item: item.name
    )
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(files):
        raise StoreError(
            f"{path} was written by a newer voice-relay (schema {version}, this one knows {len(files)}). "
            "Run that version, or set the file aside to begin a new one."
        )
    for number, file in enumerate(files[version:], start=version + 1):
        script = file.read_text(encoding="utf-8")
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
