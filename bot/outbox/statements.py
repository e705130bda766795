"""Writes many rows in few statements.

The sqlite3 module lets go of the interpreter's lock at each step of a statement, and a thread that asks for
it a thousand times beside a busy event loop waits each time.
"""

import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final

Row = tuple[Any, ...]

# Few sizes, so that sqlite3 finds the statements in its cache.
_CHUNKS: Final = (256, 64, 16, 4, 1)


def insert(db: sqlite3.Connection, head: str, rows: Sequence[Row]) -> None:
    """Insert *rows*; *head* is the statement up to and including VALUES."""
    for chunk in _cut(rows):
        row = "(" + ",".join("?" * len(chunk[0])) + ")"
        db.execute(head + ",".join([row] * len(chunk)), list(itertools.chain.from_iterable(chunk)))


def delete(db: sqlite3.Connection, table: str, columns: Sequence[str], keys: Sequence[Row]) -> None:
    """Delete the rows of *table* whose *columns* are one of *keys*."""
    # With a list of row values instead, SQLite reads the whole table.
    key = "(" + " AND ".join(f"{column} = ?" for column in columns) + ")"
    for chunk in _cut(keys):
        statement = f"DELETE FROM {table} WHERE {' OR '.join([key] * len(chunk))}"  # noqa: S608
        db.execute(statement, list(itertools.chain.from_iterable(chunk)))


def _cut(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    start = 0
    for size in _CHUNKS:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size
