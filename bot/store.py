"""The SQLite file: all SQL of the relay, each public method one transaction.

Occupancy and the events that its changes gave rise to are committed together, so that a crash leaves either
both or neither. A lane's batch is a range of its events, written down before it is first sent.

Where many rows are written they go in a few statements: the sqlite3 module lets go of the interpreter's
lock at each step of a statement, and a thread that asks for it a thousand times beside a busy event loop
waits each time.
"""

import fcntl
import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import orjson

from bot.batch import Batch, Delivered, Lane, OutgoingEvent, Refused, Settlement
from bot.capture import GuildRow, Observation
from bot.errors import StoreError
from bot.ids import UlidFactory
from bot.occupancy import GuildOccupancy, Occupant
from bot.schedule import Change, LaneSchedule

FILE_NAME = "relay.sqlite3"
LOCK_NAME = "relay.lock"
BATCH_MAX_BYTES = 200 * 1024
"""Room for the events of one batch; Step Functions takes an input of 262,144 bytes."""
RECEIPTS_KEPT_MS = 7 * 24 * 3600 * 1000

Synchronous = Literal["full", "normal"]

_CHUNKS = (256, 64, 16, 4, 1)

_PUT_GUILD = "INSERT OR REPLACE INTO guild (guild_id, name, known, unwatched_since_ms, gap_reason) VALUES "
_PUT_OCCUPANT = (
    "INSERT OR REPLACE INTO occupant (guild_id, user_id, channel_id, since_ms, flags, user) VALUES "
)
_PUT_EVENT = "INSERT INTO event (lane_id, event_id, destination, body) VALUES "

# group_concat takes the rows in the order in which the ordered subquery hands them over.
_EVENTS = """
SELECT min(seq), max(seq), min(destination), max(destination), sum(length(CAST(body AS BLOB)) + 1),
       group_concat(body, ','), group_concat(event_id, ',')
FROM (SELECT seq, destination, body, event_id
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


@dataclass(slots=True)
class Work:
    """What goes to disk in one transaction: what was seen, what it leads to, and what became of batches."""

    observations: list[Observation] = field(default_factory=list)
    events: list[OutgoingEvent] = field(default_factory=list)
    settlements: list[Settlement] = field(default_factory=list)
    watched_until_ms: int | None = None


class _Events(NamedTuple):
    """A stretch of a lane, joined up; in a batch, the destinations are one."""

    first_seq: int
    last_seq: int
    destination: str
    last_destination: str
    bytes: int
    bodies: str
    event_ids: str


class Store:
    """One open outbox file, owned by this process alone; not for use from several threads at once.

    Every method raises StoreError where the disk or the file fails; what it was to write is then unwritten.
    """

    def __init__(self, connection: sqlite3.Connection, lock: IO[str], *, batch_max_events: int) -> None:
        self._db = connection
        self._lock = lock
        self._new_id = UlidFactory()
        with self._transaction():
            lanes = connection.execute("SELECT lane_id, workflow, guild_id FROM lane").fetchall()
            waiting = dict(
                connection.execute("SELECT lane_id, count(*) FROM event GROUP BY lane_id ORDER BY min(seq)")
            )
            in_flight = {lane_id for (lane_id,) in connection.execute("SELECT lane_id FROM batch")}
        self._lanes = {lane_id: Lane(workflow, guild_id) for lane_id, workflow, guild_id in lanes}
        self._lane_ids = {lane: lane_id for lane_id, lane in self._lanes.items()}
        self._schedule = LaneSchedule(waiting, in_flight, batch_max_events=batch_max_events)

    @classmethod
    def open(cls, data_dir: Path, *, batch_max_events: int, synchronous: Synchronous = "full") -> "Store":
        """Open the file in *data_dir*, both made where missing, and bring its schema up to date."""
        path = data_dir / FILE_NAME
        with ExitStack() as undo:
            lock = undo.enter_context(_lock(data_dir))
            try:
                connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                undo.callback(connection.close)
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(f"PRAGMA synchronous = {synchronous}")
                _upgrade(connection, path)
            except sqlite3.Error as error:
                raise StoreError(f"cannot open {path}: {error}") from error
            store = cls(connection, lock, batch_max_events=batch_max_events)
            undo.pop_all()
        return store

    def close(self) -> None:
        self._db.close()
        self._lock.close()

    @property
    def waiting(self) -> int:
        """How many events wait or are on their way."""
        return self._schedule.total

    def load_occupancy(self) -> dict[str, GuildOccupancy]:
        """Return every guild with the people in it, none of them watched, by guild id."""
        with self._transaction():
            row = self._db.execute("SELECT until_ms FROM watch").fetchone()
            watched_until_ms: int | None = row[0] if row else None
            guild_rows = self._db.execute("SELECT * FROM guild").fetchall()
            occupant_rows = self._db.execute("SELECT * FROM occupant").fetchall()
        guilds: dict[str, GuildOccupancy] = {}
        for guild_id, name, known, since_ms, reason in guild_rows:
            guilds[guild_id] = guild = GuildOccupancy({"id": guild_id, "name": name}, known=bool(known))
            guild.unwatched_since_ms = watched_until_ms if since_ms is None else since_ms
            guild.gap_reason = reason or "restart"
        for guild_id, _user_id, channel_id, since_ms, flags, user in occupant_rows:
            guild = guilds.setdefault(guild_id, GuildOccupancy({"id": guild_id, "name": None}))
            guild.put(Occupant(orjson.loads(user), channel_id, since_ms, flags))
        return guilds

    def open_batches(self) -> list[Batch]:
        """Return the batches that were begun and not settled, as they were first sent."""
        with self._transaction():
            rows = self._db.execute("SELECT * FROM batch ORDER BY first_seq").fetchall()
            return [
                self._build_batch(
                    lane_id, execution, created_ms, self._read_events(lane_id, first_seq, last_seq)
                )
                for lane_id, execution, first_seq, last_seq, created_ms in rows
            ]

    def apply(self, work: Work, *, slots: int, now_ms: int) -> list[Batch]:
        """Commit *work* and begin up to *slots* new batches, in lanes that have none in flight."""
        self._add_lanes(event.lane for event in work.events)
        change = Change()
        with self._transaction():
            self._write_observations(work.observations)
            if work.watched_until_ms is not None:
                self._db.execute("INSERT OR REPLACE INTO watch VALUES (1, ?)", (work.watched_until_ms,))
            self._write_events(work.events, change)
            for settlement in work.settlements:
                self._settle(settlement, change, now_ms)
            begun = self._schedule.choose(change, slots)
            batches = [
                self._begin_batch(lane_id, self._schedule.limit(lane_id, change), now_ms) for lane_id in begun
            ]
        self._schedule.commit(change, begun)
        return batches

    def prune_receipts(self, *, now_ms: int) -> None:
        """Drop the receipts that are older than they are kept."""
        with self._transaction():
            self._db.execute("DELETE FROM receipt WHERE delivered_ms < ?", (now_ms - RECEIPTS_KEPT_MS,))

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
            raise StoreError(f"the outbox file cannot be written: {error}") from error

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

    def _write_events(self, events: Iterable[OutgoingEvent], change: Change) -> None:
        rows = []
        for lane, destination, event_id, body in events:
            lane_id = self._lane_ids[lane]
            change.added[lane_id] = change.added.get(lane_id, 0) + 1
            rows.append((lane_id, event_id, destination, body))
        self._insert(_PUT_EVENT, rows)

    def _settle(self, settlement: Settlement, change: Change, now_ms: int) -> None:
        batch = settlement.batch
        lane_id, size = batch.lane_id, len(batch.event_ids)
        match settlement:
            case Delivered():
                self._put_receipt(settlement, now_ms)
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
        change.settled[lane_id] = size

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

    def _begin_batch(self, lane_id: int, limit: int, now_ms: int) -> Batch:
        events = self._read_events(lane_id, 0, _LAST_SEQ, limit)
        if events.bytes > BATCH_MAX_BYTES or events.destination != events.last_destination:
            events = self._read_events(lane_id, 0, self._find_cut(lane_id, limit), limit)
        execution = f"{self._lanes[lane_id].guild_id}-{self._new_id(now_ms)}"
        self._db.execute(
            "INSERT INTO batch VALUES (?, ?, ?, ?, ?)",
            (lane_id, execution, events.first_seq, events.last_seq, now_ms),
        )
        return self._build_batch(lane_id, execution, now_ms, events)

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


def _lock(data_dir: Path) -> IO[str]:
    """Take the data directory for this process, until the returned file is closed or the process ends."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / LOCK_NAME).open("a")
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


def _upgrade(connection: sqlite3.Connection, path: Path) -> None:
    """Apply the schema files that the database has not seen, each in one transaction."""
    files = sorted(
        (item for item in resources.files("bot").joinpath("schema").iterdir() if item.name.endswith(".sql")),
        key=lambda item: item.name,
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
