"""The table of events that the debounce holds back."""

import sqlite3
from typing import Final

import orjson

from bot.outbox import statements
from bot.outbox.work import Work
from bot.routing.debounce import Held, HeldKey
from bot.routing.rules import Route

_KEY: Final = ("guild_id", "user_id", "debounce_ms")
_READ: Final = (
    "SELECT guild_id, user_id, debounce_ms, due_ms, since_ms, stay_s, origin, event, routes FROM held"
)
_PUT: Final = (
    "INSERT OR REPLACE INTO held "
    "(guild_id, user_id, debounce_ms, due_ms, since_ms, stay_s, origin, event, routes) VALUES "
)


def read_held(db: sqlite3.Connection) -> dict[HeldKey, Held]:
    """Return what is held back."""
    found = {}
    for *key, due_ms, since_ms, stay_s, origin, event, routes in db.execute(_READ):
        found[HeldKey(*key)] = Held(
            origin=None if origin is None else orjson.loads(origin),
            since_ms=since_ms,
            stay_s=stay_s,
            event=orjson.loads(event),
            routes=tuple(
                Route(workflow, destination, 0.0, batch_max_events, *others)
                for workflow, destination, batch_max_events, *others in orjson.loads(routes)
            ),
            due_ms=due_ms,
        )
    return found


def write_held(db: sqlite3.Connection, work: Work) -> None:
    """Write what *work* changes of what is held back."""
    for guild_id in work.held_anew:
        db.execute("DELETE FROM held WHERE guild_id = ?", (guild_id,))
    rows: list[statements.Row] = []
    gone: list[statements.Row] = []
    for key, held in work.held.items():
        if held is None:
            gone.append(key)
        else:
            origin = None if held.origin is None else orjson.dumps(held.origin).decode()
            event = orjson.dumps(held.event).decode()
            # The wait is the row's own.
            routes = [[*route[:2], *route[3:]] for route in held.routes]
            written = orjson.dumps(routes).decode()
            rows.append((*key, held.due_ms, held.since_ms, held.stay_s, origin, event, written))
    statements.delete(db, "held", _KEY, gone)
    statements.insert(db, _PUT, rows)
