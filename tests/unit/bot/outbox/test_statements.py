"""Statements over many rows find these by their keys."""

import sqlite3

import pytest

from bot.outbox import statements
from bot.outbox.store import Store

KEYS = {
    "held": ("guild_id", "user_id", "debounce_ms"),
    "occupant": ("guild_id", "user_id"),
}


@pytest.mark.parametrize("table", KEYS)
@pytest.mark.parametrize("count", [1, 2, 256])
def test_deletes_by_key(store: Store, table: str, count: int) -> None:
    """A scan would read every row of the table in each commit."""
    columns, plans = KEYS[table], []

    def explain(statement: str) -> None:
        if statement.startswith("DELETE"):
            plans.append([row[3] for row in other.execute("EXPLAIN QUERY PLAN " + statement)])

    database = store._db
    with sqlite3.connect(":memory:") as other:
        database.backup(other)
        database.set_trace_callback(explain)
        statements.delete(database, table, columns, [(*"x" * (len(columns) - 1), n) for n in range(count)])
        database.set_trace_callback(None)
    searched = " AND ".join(f"{column}=?" for column in columns)
    assert plans
    for plan in plans:
        assert any(searched in step for step in plan), plan
        assert not any(step.startswith("SCAN") for step in plan), plan
