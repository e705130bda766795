"""The table of events that the debounce holds back."""

import sqlite3
from collections.abc import Mapping
from typing import Final

import orjson

from bot.outbox import statements
from bot.outbox.work import Work
from bot.routing.debounce import Held, HeldKey
from bot.routing.lane import Lane

_READ: Final = "SELECT lane_id, destination, user_id, due_ms, stay_s, origin, event FROM held"
_PUT: Final = (
    "INSERT OR REPLACE INTO held (lane_id, destination, user_id, due_ms, stay_s, origin, event) VALUES "
)
_DROP_GUILD: Final = "DELETE FROM held WHERE lane_id IN (SELECT lane_id FROM lane WHERE guild_id = ?)"


def read_held(db: sqlite3.Connection, lanes: Mapping[int, Lane]) -> dict[HeldKey, Held]:
    """Return what is held back; *lanes* are by their ids."""
    return {
        HeldKey(lanes[lane_id], destination, user_id): Held(
            None if origin is None else orjson.loads(origin), stay_s, orjson.loads(event), due_ms
        )
        for lane_id, destination, user_id, due_ms, stay_s, origin, event in db.execute(_READ)
    }


def write_held(db: sqlite3.Connection, work: Work, lane_ids: Mapping[Lane, int]) -> None:
    """Write what *work* changes of what is held back."""
    for guild_id in work.held_anew:
        db.execute(_DROP_GUILD, (guild_id,))
    rows: list[statements.Row] = []
    gone: list[statements.Row] = []
    for key, held in work.held.items():
        columns = (lane_ids[key.lane], key.destination, key.user_id)
        if held is None:
            gone.append(columns)
        else:
            origin = None if held.origin is None else orjson.dumps(held.origin).decode()
            event = orjson.dumps(held.event).decode()
            rows.append((*columns, held.due_ms, held.stay_s, origin, event))
    statements.delete(db, "held", ("lane_id", "destination", "user_id"), gone)
    statements.insert(db, _PUT, rows)
