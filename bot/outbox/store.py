"""The SQLite file: all SQL of the relay, each public method one transaction.

Occupancy and the events that its changes gave rise to are committed together, so that a crash leaves either
both or neither. A lane's batch is a range of its events, written down before it is first sent.

Where many rows are written they go in a few statements: the sqlite3 module lets go of the interpreter's
lock at each step of a statement, and a thread that asks for it a thousand times beside a busy event loop
waits each time.
"""

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
import structlog

from bot.errors import StoreFullError
from bot.outbox.batch import AS_BEFORE, Batch, Delivered, Failed, OutgoingEvent, Refused, Report
from bot.outbox.database import Database
from bot.outbox.lanes import Change, LaneSchedule
from bot.routing.debounce import Held, HeldKey
from bot.routing.lane import Lane
from bot.ulid import UlidFactory
from bot.voice.observation import GuildRow, Observation
from bot.voice.occupancy import GuildOccupancy, Occupant
from bot.voice.payloads import shard_of

log = structlog.get_logger(__name__)

BATCH_MAX_BYTES = 200 * 1024
"""Room for the events of one batch; Step Functions takes an input of 262,144 bytes."""
_DAY_MS = 24 * 3600 * 1000
_REDRIVE_MAX = 1000
_ROOM_AGAIN = 0.9
"""The share of its full size that the file must have gone below before new events are taken again."""

_CHUNKS = (256, 64, 16, 4, 1)

_PUT_GUILD = "INSERT OR REPLACE INTO guild (guild_id, name, known, unwatched_since_ms, gap_reason) VALUES "
_PUT_OCCUPANT = (
    "INSERT OR REPLACE INTO occupant (guild_id, user_id, channel_id, since_ms, flags, user) VALUES "
)
_PUT_HELD = (
    "INSERT OR REPLACE INTO held (lane_id, destination, user_id, due_ms, stay_s, origin, event) VALUES "
)
_PUT_EVENT = "INSERT INTO event (lane_id, event_id, destination, body, entered_ms) VALUES "

# group_concat takes the rows in the order in which the ordered subquery hands them over.
_EVENTS = """
SELECT min(seq), max(seq), coalesce(min(entered_ms), 0), min(destination), max(destination),
       sum(length(CAST(body AS BLOB)) + 1), group_concat(body, ','), group_concat(event_id, ',')
FROM (SELECT seq, entered_ms, destination, body, event_id
      FROM event WHERE lane_id = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?)
"""
_SIZES = """
SELECT seq, destination, length(CAST(body AS BLOB)) + 1
FROM event WHERE lane_id = ? ORDER BY seq LIMIT ?
"""
_LAST_SEQ = 2**63 - 1

_DROP_EVENTS = """
DELETE FROM event WHERE lane_id = ?1 AND seq BETWEEN (SELECT first_seq FROM batch WHERE lane_id = ?1)
                                                 AND (SELECT last_seq FROM batch WHERE lane_id = ?1)
"""
_BURY = """
INSERT INTO dead_letter (lane_id, event_id, destination, body, execution, reason, died_ms)
SELECT lane_id, event_id, destination, body, execution, ?, ? FROM event JOIN batch USING (lane_id)
WHERE lane_id = ? AND seq BETWEEN first_seq AND last_seq
"""
_BURY_EXPIRED = """
INSERT INTO dead_letter (lane_id, event_id, destination, body, reason, died_ms)
SELECT lane_id, event_id, destination, body, 'expired: it waited for longer than MAX_EVENT_AGE_S', ?
FROM event WHERE lane_id = ? AND entered_ms < ? ORDER BY seq
"""
_NOTE_FAILURE = """
UPDATE batch SET attempts = ?, last_attempt_ms = ?, last_error = ? WHERE lane_id = ?
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much and how long: events of a batch, bytes of the file, ages of what waits and of receipts."""

    batch_events: int = 25
    file_bytes: int = 1 << 30
    event_age_ms: int = _DAY_MS
    receipt_age_ms: int = 7 * _DAY_MS


@dataclass(frozen=True, slots=True)
class Watched:
    """Until when each shard, of so many, is known to have been watching."""

    shard_count: int
    until_ms: Mapping[int, int]

    def of_guild(self, guild_id: str) -> int | None:
        return self.until_ms.get(shard_of(guild_id, self.shard_count))


@dataclass(slots=True)
class Work:
    """What goes to disk in one transaction: what was seen, what it leads to, and what became of batches.

    ``held`` has what is held now of each key that changed, ``None`` for nothing; of the guilds in
    ``held_anew`` nothing else is held. ``released`` are events that were held, and are taken whatever the
    size of the file.
    ``housekeeping`` sends the dead letters that somebody wants sent again, and drops old receipts.
    """

    observations: list[Observation] = field(default_factory=list)
    events: list[OutgoingEvent] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    held: dict[HeldKey, Held | None] = field(default_factory=dict)
    held_anew: set[str] = field(default_factory=set)
    released: list[OutgoingEvent] = field(default_factory=list)
    watched: Watched | None = None
    housekeeping: bool = False


class _Events(NamedTuple):
    """A stretch of a lane, joined up; in a batch, the destinations are one."""

    first_seq: int | None
    last_seq: int
    entered_ms: int
    destination: str
    last_destination: str
    bytes: int
    bodies: str
    event_ids: str


class Store:
    """One open outbox file, owned by this process alone; not for use from several threads at once.

    Every method raises StoreError where the disk or the file fails; what it was to write is then unwritten.
    """

    def __init__(self, database: Database, limits: Limits | None = None) -> None:
        self._database = database
        self._db = connection = database.connection
        self._limits = limits or Limits()
        self._new_id = UlidFactory()
        with self._transaction():
            lanes = connection.execute(
                "SELECT lane_id, workflow, guild_id, batch_max_events FROM lane"
            ).fetchall()
            waiting = dict(
                connection.execute("SELECT lane_id, count(*) FROM event GROUP BY lane_id ORDER BY min(seq)")
            )
            in_flight = {lane_id for (lane_id,) in connection.execute("SELECT lane_id FROM batch")}
        self._lanes = {lane_id: Lane(workflow, guild_id) for lane_id, workflow, guild_id, _ in lanes}
        self._batch_max: dict[int, int | None] = {lane_id: batch_max for lane_id, _, _, batch_max in lanes}
        self._lane_ids = {lane: lane_id for lane_id, lane in self._lanes.items()}
        self._schedule = LaneSchedule(waiting, in_flight, batch_max_events=self._limits.batch_events)

    def close(self) -> None:
        self._database.close()

    @property
    def waiting(self) -> int:
        """How many events wait or are on their way."""
        return self._schedule.total

    def load_occupancy(self) -> dict[str, GuildOccupancy]:
        """Return every guild with the people in it, none of them watched, by guild id."""
        with self._transaction():
            watch_rows = self._db.execute("SELECT shard_count, shard_id, until_ms FROM watch").fetchall()
            guild_rows = self._db.execute("SELECT * FROM guild").fetchall()
            occupant_rows = self._db.execute("SELECT * FROM occupant").fetchall()
        watched = [Watched(count, {shard_id: until_ms}) for count, shard_id, until_ms in watch_rows]
        guilds: dict[str, GuildOccupancy] = {}
        for guild_id, name, known, since_ms, reason in guild_rows:
            guilds[guild_id] = guild = GuildOccupancy({"id": guild_id, "name": name}, known=bool(known))
            if reason is None:
                known = [until_ms for each in watched if (until_ms := each.of_guild(guild_id)) is not None]
                since_ms = max(known, default=None)
            guild.unwatched_since_ms = since_ms
            guild.gap_reason = reason or "restart"
        for guild_id, _user_id, channel_id, since_ms, flags, user in occupant_rows:
            guild = guilds.setdefault(guild_id, GuildOccupancy({"id": guild_id, "name": None}))
            guild.put(Occupant(orjson.loads(user), channel_id, since_ms, flags))
        return guilds

    def load_held(self) -> dict[HeldKey, Held]:
        """Return what waits to settle."""
        with self._transaction():
            rows = self._db.execute(
                "SELECT lane_id, destination, user_id, due_ms, stay_s, origin, event FROM held"
            ).fetchall()
        return {
            HeldKey(self._lanes[lane_id], destination, user_id): Held(
                None if origin is None else orjson.loads(origin), stay_s, orjson.loads(event), due_ms
            )
            for lane_id, destination, user_id, due_ms, stay_s, origin, event in rows
        }

    def open_batches(self) -> list[Batch]:
        """Return the batches that were begun and not settled, as they were first sent."""
        with self._transaction():
            rows = self._db.execute(
                "SELECT lane_id, execution, first_seq, last_seq, created_ms FROM batch ORDER BY first_seq"
            ).fetchall()
            return [
                self._build_batch(
                    lane_id, execution, created_ms, self._read_events(lane_id, first_seq, last_seq)
                )
                for lane_id, execution, first_seq, last_seq, created_ms in rows
            ]

    def apply(self, work: Work, *, slots: int, now_ms: int) -> list[Batch]:
        """Commit *work* and begin up to *slots* new batches, in lanes that have none in flight."""
        if work.events and self._size_bytes() >= self._limits.file_bytes:
            raise StoreFullError(
                f"the outbox has reached VOICE_RELAY_OUTBOX_MAX_BYTES ({self._limits.file_bytes}) with "
                f"{self._schedule.total} events waiting: what happens now will be declared as a gap"
            )
        events = [*work.released, *work.events]
        self._add_lanes(itertools.chain((event.lane for event in events), (key.lane for key in work.held)))
        change = Change()
        with self._transaction():
            self._write_observations(work.observations)
            if work.watched is not None:
                count = work.watched.shard_count
                self._insert(
                    "INSERT OR REPLACE INTO watch (shard_count, shard_id, until_ms) VALUES ",
                    [(count, shard_id, until_ms) for shard_id, until_ms in work.watched.until_ms.items()],
                )
            self._write_events(events, change, now_ms)
            self._write_held(work)
            for report in work.reports:
                self._take_report(report, change, now_ms)
            if work.housekeeping:
                self._redrive(change, now_ms)
                oldest_ms = now_ms - self._limits.receipt_age_ms
                self._db.execute("DELETE FROM receipt WHERE delivered_ms < ?", (oldest_ms,))
            batches = self._begin_batches(change, slots, now_ms)
        self._schedule.commit(change, [batch.lane_id for batch in batches])
        return batches

    def has_room(self) -> bool:
        """Say whether a file that was full has room for a good while again."""
        return self._size_bytes() < self._limits.file_bytes * _ROOM_AGAIN

    def count_dead_letters(self) -> int:
        with self._transaction():
            count: int = self._db.execute("SELECT count(*) FROM dead_letter").fetchone()[0]
        return count

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._database.explain(error) from error

    def _size_bytes(self) -> int:
        """Return how many bytes of the file are in use."""
        try:
            pages, free, page_bytes = (
                int(self._db.execute(f"PRAGMA {name}").fetchone()[0])
                for name in ("page_count", "freelist_count", "page_size")
            )
        except sqlite3.Error as error:
            raise self._database.explain(error) from error
        return (pages - free) * page_bytes

    def _add_lanes(self, lanes: Iterable[Lane]) -> None:
        """Give each new lane its number, in a transaction of its own: a lane without events does no harm."""
        new = {lane for lane in lanes if lane not in self._lane_ids}
        if not new:
            return
        added = []
        with self._transaction():
            for lane in new:
                self._db.execute("INSERT OR IGNORE INTO lane (workflow, guild_id) VALUES (?, ?)", lane)
                query = "SELECT lane_id FROM lane WHERE workflow = ? AND guild_id = ?"
                added.append((int(self._db.execute(query, lane).fetchone()[0]), lane))
        for lane_id, lane in added:
            self._lanes[lane_id] = lane
            self._lane_ids[lane] = lane_id

    def _write_observations(self, observations: Iterable[Observation]) -> None:
        """Write the rows that *observations* leave behind: of several for one row, the last."""
        guilds: dict[str, GuildRow] = {}
        occupants: dict[tuple[str, str], Occupant | None] = {}
        for observation in observations:
            guild_id = observation.guild_id
            if observation.forgotten:
                guilds.pop(guild_id, None)
                occupants = {key: value for key, value in occupants.items() if key[0] != guild_id}
                self._db.execute("DELETE FROM guild WHERE guild_id = ?", (guild_id,))
                self._db.execute("DELETE FROM occupant WHERE guild_id = ?", (guild_id,))
                continue
            if observation.guild is not None:
                guilds[guild_id] = observation.guild
            for user_id, occupant in observation.occupants.items():
                occupants[guild_id, user_id] = occupant
        self._insert(_PUT_GUILD, [(guild_id, *row) for guild_id, row in guilds.items()])
        self._insert(
            _PUT_OCCUPANT,
            [
                (guild_id, user_id, o.channel_id, o.since_ms, o.flags, orjson.dumps(o.user).decode())
                for (guild_id, user_id), o in occupants.items()
                if o is not None
            ],
        )
        for keys in _chunks([key for key, occupant in occupants.items() if occupant is None]):
            places = ",".join(["(?,?)"] * len(keys))
            self._db.execute(
                f"DELETE FROM occupant WHERE (guild_id, user_id) IN (VALUES {places})",  # noqa: S608
                list(itertools.chain.from_iterable(keys)),
            )

    def _write_events(self, events: Iterable[OutgoingEvent], change: Change, now_ms: int) -> None:
        rows = []
        maxima: dict[int, int | None] = {}
        for lane, destination, event_id, body, batch_max_events in events:
            lane_id = self._lane_ids[lane]
            if batch_max_events not in (AS_BEFORE, self._batch_max.get(lane_id)):
                maxima[lane_id] = batch_max_events
            change.delta[lane_id] += 1
            rows.append((lane_id, event_id, destination, body, now_ms))
        self._insert(_PUT_EVENT, rows)
        for lane_id, maximum in maxima.items():
            self._db.execute("UPDATE lane SET batch_max_events = ? WHERE lane_id = ?", (maximum, lane_id))
            # Taken over at once: should this be rolled back, the worst is a batch of another size.
            self._batch_max[lane_id] = maximum

    def _write_held(self, work: Work) -> None:
        for guild_id in work.held_anew:
            self._db.execute(
                "DELETE FROM held WHERE lane_id IN (SELECT lane_id FROM lane WHERE guild_id = ?)", (guild_id,)
            )
        rows = []
        for key, held in work.held.items():
            columns = (self._lane_ids[key.lane], key.destination, key.user_id)
            if held is None:
                self._db.execute(
                    "DELETE FROM held WHERE lane_id = ? AND destination = ? AND user_id = ?", columns
                )
            else:
                origin = None if held.origin is None else orjson.dumps(held.origin).decode()
                event = orjson.dumps(held.event).decode()
                rows.append((*columns, held.due_ms, held.stay_s, origin, event))
        self._insert(_PUT_HELD, rows)

    def _take_report(self, report: Report, change: Change, now_ms: int) -> None:
        lane_id, size = report.batch.lane_id, len(report.batch.event_ids)
        match report:
            case Failed(attempts=attempts, reason=reason):
                self._db.execute(_NOTE_FAILURE, (attempts, now_ms, reason, lane_id))
                return
            case Delivered():
                self._put_receipt(report, now_ms)
                change.limits[lane_id] = None
            case Refused() if size > 1:
                # Nothing of it was accepted: its events go again, half as many at a time.
                change.limits[lane_id] = size // 2
                size = 0
            case Refused(reason=reason):
                self._db.execute(_BURY, (reason, now_ms, lane_id))
        if size:
            self._db.execute(_DROP_EVENTS, (lane_id,))
        self._db.execute("DELETE FROM batch WHERE lane_id = ?", (lane_id,))
        change.settled.add(lane_id)
        change.delta[lane_id] -= size

    def _put_receipt(self, delivered: Delivered, now_ms: int) -> None:
        batch = delivered.batch
        self._db.execute(
            "INSERT OR REPLACE INTO receipt VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                batch.execution,
                delivered.arn,
                batch.lane_id,
                ",".join(batch.event_ids),
                delivered.attempts,
                batch.created_ms,
                now_ms,
            ),
        )

    def _redrive(self, change: Change, now_ms: int) -> None:
        """Put the dead letters that are asked for at the ends of their lanes."""
        rows = self._db.execute(
            "SELECT letter_id, lane_id, event_id, destination, body FROM dead_letter "
            "WHERE redrive = 1 ORDER BY letter_id LIMIT ?",
            (_REDRIVE_MAX,),
        ).fetchall()
        for chunk in _chunks(rows):
            places = ",".join("?" * len(chunk))
            ids = [letter_id for letter_id, *_ in chunk]
            self._db.execute(f"DELETE FROM dead_letter WHERE letter_id IN ({places})", ids)  # noqa: S608
        self._insert(_PUT_EVENT, [(*row, now_ms) for _, *row in rows])
        change.delta.update(lane_id for _, lane_id, *_ in rows)

    def _begin_batches(self, change: Change, slots: int, now_ms: int) -> list[Batch]:
        batches = []
        for lane_id in self._schedule.choose(change, slots):
            limit = self._schedule.limit(lane_id, change, self._batch_max.get(lane_id))
            batch = self._begin_batch(lane_id, limit, change, now_ms)
            if batch is not None:
                batches.append(batch)
        return batches

    def _begin_batch(self, lane_id: int, limit: int, change: Change, now_ms: int) -> Batch | None:
        """Cut the lane's next batch and write it down; ``None`` if all that waited was too old."""
        events = self._read_events(lane_id, 0, _LAST_SEQ, limit)
        if events.entered_ms < now_ms - self._limits.event_age_ms:
            change.delta[lane_id] -= self._expire(lane_id, now_ms)
            events = self._read_events(lane_id, 0, _LAST_SEQ, limit)
            if events.first_seq is None:
                return None
        if events.bytes > BATCH_MAX_BYTES or events.destination != events.last_destination:
            events = self._read_events(lane_id, 0, self._find_cut(lane_id, limit), limit)
        execution = f"{self._lanes[lane_id].guild_id}-{self._new_id(now_ms)}"
        self._db.execute(
            "INSERT INTO batch (lane_id, execution, first_seq, last_seq, created_ms) VALUES (?, ?, ?, ?, ?)",
            (lane_id, execution, events.first_seq, events.last_seq, now_ms),
        )
        return self._build_batch(lane_id, execution, now_ms, events)

    def _expire(self, lane_id: int, now_ms: int) -> int:
        """Move what has waited too long to the dead letters, and return how many events that were."""
        oldest_ms = now_ms - self._limits.event_age_ms
        self._db.execute(_BURY_EXPIRED, (now_ms, lane_id, oldest_ms))
        cursor = self._db.execute(
            "DELETE FROM event WHERE lane_id = ? AND entered_ms < ?", (lane_id, oldest_ms)
        )
        log.warning("events_expired", lane=self._lanes[lane_id], events=cursor.rowcount)
        return cursor.rowcount

    def _find_cut(self, lane_id: int, limit: int) -> int:
        """Return the last event of the lane that a batch may have: it fits the bytes, for one destination."""
        total = cut = 0
        first = None
        for seq, destination, size in self._db.execute(_SIZES, (lane_id, limit)):
            first = destination if first is None else first
            total += size
            if cut and (destination != first or total > BATCH_MAX_BYTES):
                break
            cut = seq
        return cut

    def _read_events(self, lane_id: int, first_seq: int, last_seq: int, limit: int = -1) -> _Events:
        return _Events(*self._db.execute(_EVENTS, (lane_id, first_seq, last_seq, limit)).fetchone())

    def _build_batch(self, lane_id: int, execution: str, created_ms: int, events: _Events) -> Batch:
        name, to = orjson.dumps(execution).decode(), orjson.dumps(events.destination).decode()
        return Batch(
            lane_id=lane_id,
            lane=self._lanes[lane_id],
            execution=execution,
            body=f'{{"id":{name},"destination":{to},"events":[{events.bodies}]}}'.encode(),
            event_ids=tuple(events.event_ids.split(",")),
            created_ms=created_ms,
        )

    def _insert(self, head: str, rows: Sequence[tuple[Any, ...]]) -> None:
        for chunk in _chunks(rows):
            row = "(" + ",".join("?" * len(chunk[0])) + ")"
            self._db.execute(head + ",".join([row] * len(chunk)), list(itertools.chain.from_iterable(chunk)))


def _chunks(rows: Sequence[tuple[Any, ...]]) -> Iterator[Sequence[tuple[Any, ...]]]:
    """Cut *rows* into pieces of few sizes, so that sqlite3 finds the statements in its cache."""
    start = 0
    for size in _CHUNKS:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size
