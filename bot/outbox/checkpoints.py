"""Empties the write-ahead log on a thread and a connection of its own, so that no commit waits for it.

Left to itself, SQLite copies the log into the file inside the commit that makes the log too long: hundreds of
pages and two flushes, and what is captured meanwhile waits. A log that is emptied early is also written over
rather than made longer, which a disk flushes faster. Commits without a pause between them keep the log from
becoming empty; SQLite then does it as before, at the length that ``database`` sets.
"""

# https://sqlite.org/wal.html#checkpointing

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Final

import structlog

from bot.outbox.soundness import guard

EVERY_COMMITS: Final = 400
"""A frame's commit is some nine pages. Each checkpoint is a flush that the next commit's may meet."""
_TRIES: Final = 5
"""A commit during a try leaves a little for the next one."""
_CLOSE_WAIT_S: Final = 10.0

log = structlog.get_logger(__name__)


class Checkpoints:
    """For the file at *path*, from the first commits until ``close``, which comes before the file's own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._commits = 0
        self._due = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None

    def note_commit(self) -> None:
        """Count a commit; every so often, let the thread empty the log."""
        self._commits += 1
        if self._commits >= EVERY_COMMITS:
            self._commits = 0
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
                self._thread.start()
            self._due.set()

    def close(self) -> None:
        """End the thread; one that hangs in the disk is left behind."""
        if self._thread is not None:
            self._closing = True
            self._due.set()
            self._thread.join(_CLOSE_WAIT_S)

    def _run(self) -> None:
        while self._due.wait() and not self._closing:
            self._due.clear()
            try:
                with closing(sqlite3.connect(self._path, isolation_level=None)) as db:
                    guard(db)
                    self._empty(db)
            except sqlite3.Error as error:
                log.warning("outbox_checkpoint_failed", reason=str(error))

    def _empty(self, db: sqlite3.Connection) -> None:
        for _ in range(_TRIES):
            _, pages, copied = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if copied >= pages:
                return
