"""The tables of who is where: guilds, the people in them, and until when each shard was watching."""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Final

import orjson

from bot.outbox import statements
from bot.outbox.work import Watched
from bot.voice.observation import GuildRow, Observation
from bot.voice.occupancy import GuildOccupancy, Occupant

_PUT_GUILD: Final = (
    "INSERT OR REPLACE INTO guild (guild_id, name, known, unwatched_since_ms, gap_reason, places) VALUES "
)
_READ_GUILDS: Final = "SELECT guild_id, name, known, unwatched_since_ms, gap_reason, places FROM guild"
_READ_OCCUPANTS: Final = "SELECT guild_id, channel_id, since_ms, flags, user, session_id FROM occupant"
_PUT_OCCUPANT: Final = (
    "INSERT OR REPLACE INTO occupant "
    "(guild_id, user_id, channel_id, since_ms, flags, user, session_id) VALUES "
)
_LOSE: Final = (
    "UPDATE guild SET unwatched_since_ms = iif(gap_reason IS NULL, ?1, min(unwatched_since_ms, ?1)), "
    "gap_reason = coalesce(gap_reason, 'store_full') WHERE guild_id = ?2"
)
_READ_TOLD: Final = "SELECT unwatched_since_ms FROM guild WHERE guild_id = ? AND gap_reason IS NULL"
_PUT_SEEN: Final = (
    "INSERT INTO watch (shard_count, shard_id, until_ms) VALUES (?, ?, ?) "
    "ON CONFLICT DO UPDATE SET until_ms = max(until_ms, excluded.until_ms)"
)
_PUT_WATCH: Final = "INSERT OR REPLACE INTO watch (shard_count, shard_id, until_ms) VALUES "


def read_occupancy(db: sqlite3.Connection) -> dict[str, GuildOccupancy]:
    """Return every guild with the people in it, by guild id.

    ``watched`` are those that were when the process ended; ``unwatched_since_ms`` then says when that was.
    """
    watch = _read_watch(db)
    guilds: dict[str, GuildOccupancy] = {}
    for guild_id, name, known, since_ms, reason, places in db.execute(_READ_GUILDS):
        guilds[guild_id] = guild = GuildOccupancy({"id": guild_id, "name": name}, known=bool(known))
        if places is not None:
            guild.decode_places(places)
        if reason is None:
            # It was watched until the process ended.
            guild.told_ms = since_ms
            since_ms = _find_end(watch, guild_id, since_ms)
        guild.watched = reason is None
        guild.unwatched_since_ms = since_ms
        guild.gap_reason = reason or "restart"
    for guild_id, channel_id, since_ms, flags, user, session_id in db.execute(_READ_OCCUPANTS):
        guild = guilds.setdefault(guild_id, GuildOccupancy({"id": guild_id, "name": None}))
        guild.put(Occupant(orjson.loads(user), channel_id, since_ms, flags, session_id))
    return guilds


def write_observations(db: sqlite3.Connection, observations: Iterable[Observation]) -> None:
    """Write the rows that *observations* leave behind: of several for one row, the last."""
    guilds: dict[str, GuildRow] = {}
    occupants: dict[tuple[str, str], Occupant | None] = {}
    for observation in observations:
        guild_id = observation.guild_id
        if observation.forgotten:
            guilds.pop(guild_id, None)
            occupants = {key: value for key, value in occupants.items() if key[0] != guild_id}
            db.execute("DELETE FROM guild WHERE guild_id = ?", (guild_id,))
            db.execute("DELETE FROM occupant WHERE guild_id = ?", (guild_id,))
            continue
        if observation.guild is not None:
            guilds[guild_id] = observation.guild
        for user_id, occupant in observation.occupants.items():
            occupants[guild_id, user_id] = occupant
    statements.insert(db, _PUT_GUILD, [(guild_id, *row) for guild_id, row in guilds.items()])
    present = [
        (guild_id, user_id, o.channel_id, o.since_ms, o.flags, orjson.dumps(o.user).decode(), o.session_id)
        for (guild_id, user_id), o in occupants.items()
        if o is not None
    ]
    statements.insert(db, _PUT_OCCUPANT, present)
    gone = [key for key, occupant in occupants.items() if occupant is None]
    statements.delete(db, "occupant", ("guild_id", "user_id"), gone)


def bound_losses(db: sqlite3.Connection, since_ms: Mapping[str, int]) -> dict[str, int]:
    """Return since when guilds are unwatched: not before what is on disk, which was told.

    To be asked before anything else of the transaction is written.
    """
    watch = _read_watch(db) if since_ms else []
    bounded = {}
    for guild_id, since in since_ms.items():
        row = db.execute(_READ_TOLD, (guild_id,)).fetchone()
        told_ms = since if row is None or row[0] is None else max(since, row[0])
        bounded[guild_id] = _find_end(watch, guild_id, told_ms) or since
    return bounded


def write_losses(db: sqlite3.Connection, since_ms: Mapping[str, int]) -> None:
    """Note since when guilds are unwatched, because there was no room; of two reasons the first stays."""
    db.executemany(_LOSE, [(since, guild_id) for guild_id, since in since_ms.items()])


def write_watched(db: sqlite3.Connection, watched: Watched) -> None:
    """Note until when each shard was watching, and forget shards that this process does not run."""
    count = watched.shard_count
    rows = [(count, shard_id, until_ms) for shard_id, until_ms in watched.until_ms.items()]
    statements.insert(db, _PUT_WATCH, rows)
    if watched.shard_ids:
        ours = {(count, shard_id) for shard_id in watched.shard_ids}
        gone = [row for row in db.execute("SELECT shard_count, shard_id FROM watch") if row not in ours]
        statements.delete(db, "watch", ("shard_count", "shard_id"), gone)


def write_seen(db: sqlite3.Connection, seen_ms: Mapping[tuple[int, int], int]) -> None:
    """Note when shards took their last live frames, by the number of shards and the shard."""
    db.executemany(_PUT_SEEN, [(*shard, until_ms) for shard, until_ms in seen_ms.items()])


def _read_watch(db: sqlite3.Connection) -> list[Watched]:
    rows = db.execute("SELECT shard_count, shard_id, until_ms FROM watch")
    return [Watched(count, {shard_id: until_ms}) for count, shard_id, until_ms in rows]


def _find_end(watch: Iterable[Watched], guild_id: str, at_least_ms: int | None) -> int | None:
    """Return until when the guild was watched, ``None`` if unknown."""
    ends = [at_least_ms, *(each.of_guild(guild_id) for each in watch)]
    return max((end for end in ends if end is not None), default=None)
