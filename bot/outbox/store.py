"""The SQLite file as the relay uses it: each public method is one transaction.

Occupancy and the events that its changes gave rise to are committed together, so that a crash leaves either
both or neither. A lane's batch is written down before it is first sent, and what becomes of it is written in
the transaction that ends it. So at any instant an event is in exactly one place: held back, waiting or in a
batch, receipted, or a dead letter.

The SQL stands in the modules of the tables (``occupancy_rows``, ``session_rows``, ``held_rows``,
``lane_rows``, ``batch_rows``), in ``housekeeping`` and ``parking``. ``LaneSchedule`` keeps in memory which
lanes may begin a batch.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import structlog

from bot.errors import StoreFullError
from bot.outbox import batch_rows, held_rows, lane_rows, occupancy_rows, session_rows, statements
from bot.outbox.batch import (
    Accepted,
    Batch,
    Deferred,
    Delivered,
    Failed,
    Forgotten,
    Refused,
    Report,
    Settlement,
)
from bot.outbox.database import SQL_ERRORS, Database
from bot.outbox.housekeeping import (
    CHUNK,
    DEAD_LETTERS_SHARE,
    NEAR,
    DeadLetterBound,
    check_room,
    expire,
    prune_receipts,
    redrive,
)
from bot.outbox.lanes import Change, LaneSchedule
from bot.outbox.parameter_rows import ParameterNumbers, add_parameters, read_parameters
from bot.outbox.parking import Parking
from bot.outbox.session import Position
from bot.outbox.soundness import READ_ERRORS
from bot.outbox.started_rows import prune_started
from bot.outbox.stretch import read_stretch
from bot.outbox.work import UNCHANGED, OutgoingEvent, Work
from bot.routing.debounce import Held, HeldKey
from bot.routing.lane import Lane
from bot.ulid import UlidFactory
from bot.voice.occupancy import GuildOccupancy
from workflow.registry import max_events

_DAY_MS: Final = 24 * 3600 * 1000
_ROOM_AGAIN: Final = 0.9
"""A full file must shrink below this share of its full size before it takes new events again."""

_EVER: Final = 2**63 - 1

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much and how long: events of a batch, bytes of the file, ages of events and of receipts.

    *batch_events* is ``None`` for as many as the workflow takes by default.
    """

    batch_events: int | None = None
    file_bytes: int = 1 << 30
    event_age_ms: int = _DAY_MS
    receipt_age_ms: int = 7 * _DAY_MS


class Store:
    """One open outbox file, owned by this process alone; not for use from several threads at once.

    Every method raises StoreError where the disk or the file fails; nothing of it is written then.
    """

    def __init__(self, database: Database, limits: Limits | None = None) -> None:
        self._database = database
        self._db = connection = database.connection
        self._limits = limits or Limits()
        self._new_id = UlidFactory()
        self._committed_ms: int | None = None
        with self._transaction():
            lanes = lane_rows.read_lanes(connection)
            waiting = lane_rows.count_waiting(connection)
            in_flight = {lane_id for (lane_id,) in connection.execute("SELECT lane_id FROM batch")}
            self._lanes = {row.lane_id: row.lane for row in lanes}
            self._batch_max = {row.lane_id: row.batch_max_events for row in lanes}
            self._lane_ids = {lane: lane_id for lane_id, lane in self._lanes.items()}
            self._schedule = LaneSchedule(waiting, in_flight, lambda lane_id: self._lanes[lane_id].workflow)
            self._parameters = ParameterNumbers(read_parameters(connection))
            self._parking = Parking(self._lanes, self._schedule)
            self._parking.take_up(connection)
        self._letters = DeadLetterBound(int(self._limits.file_bytes * DEAD_LETTERS_SHARE))
        self.more_to_do = False
        """Whether housekeeping has more to do than one transaction should hold."""

    def close(self) -> None:
        self._database.close()

    @property
    def letters_full(self) -> bool:
        """Whether the dead letters have reached their bound, so that nothing more may be buried."""
        return self._letters.full

    @property
    def waiting(self) -> int:
        """How many events wait or are in flight."""
        return self._schedule.total

    def waits_behind(self, batch: Batch) -> bool:
        """Say whether events wait in the lane of *batch* for it to end; may be asked from another thread."""
        return self._schedule.waiting(batch.lane_id) > len(batch.event_ids)

    @property
    def lanes_due(self) -> bool:
        """Whether lanes wait for a place."""
        return self._schedule.any_due

    def load_occupancy(self) -> dict[str, GuildOccupancy]:
        """Return every guild with the people in it, as it was left, by guild id."""
        with self._reading():
            return occupancy_rows.read_occupancy(self._db)

    def load_positions(self) -> dict[int, Position]:
        """Return how far the gateway's session of each shard was taken in."""
        with self._reading():
            return session_rows.read_positions(self._db)

    def load_held(self) -> dict[HeldKey, Held]:
        """Return what the debounce holds back."""
        with self._reading():
            return held_rows.read_held(self._db)

    def open_batches(self) -> list[Batch]:
        """Return the batches that were begun and not settled, as they were first sent."""
        with self._transaction():
            return self._open_batches()

    def apply(
        self, work: Work, *, slots: int, now_ms: int, taken: Mapping[str, int] = MappingProxyType({})
    ) -> list[Batch]:
        """Commit *work* and return the batches to send: new ones, in lanes that have none in flight.

        Of each workflow up to *slots*, less those that are *taken*; and those that the API has forgotten.
        """
        events = [*work.released, *work.events]
        self._add_lanes({event.lane for event in events})
        self._add_parameters({event.parameters for event in events})
        while True:
            try:
                return self._write(work, events, slots, now_ms, taken)
            except StoreFullError:
                # Receipts make room first.
                with self._transaction():
                    pruned = prune_receipts(self._db, _EVER)
                if not pruned:
                    raise

    def _write(
        self, work: Work, events: Sequence[OutgoingEvent], slots: int, now_ms: int, taken: Mapping[str, int]
    ) -> list[Batch]:
        change = Change()
        with self._transaction():
            if work.events:
                check_room(self._database, self._limits.file_bytes, self._schedule.total)
            losses = occupancy_rows.bound_losses(self._db, work.losses)
            occupancy_rows.write_observations(self._db, work.observations)
            session_rows.write_positions(self._db, work.positions)
            if losses:
                occupancy_rows.write_losses(self._db, losses)
                session_rows.forget_positions(self._db)
            if work.watched is not None:
                occupancy_rows.write_watched(self._db, work.watched)
            occupancy_rows.write_seen(self._db, work.seen_ms)
            self._write_events(events, change, now_ms)
            held_rows.write_held(self._db, work)
            again = [batch for report in work.reports for batch in self._write_report(report, change, now_ms)]
            self.more_to_do = work.housekeeping and self._keep_house(change, now_ms)
            self._schedule.wake(now_ms)
            due = self._schedule.choose(change, slots, taken)
            batches = [batch for lane_id in due if (batch := self._begin_batch(lane_id, change, now_ms))]
        self._schedule.commit(change, [batch.lane_id for batch in batches])
        self._parking.commit(change)
        self._committed_ms = now_ms
        self._database.checkpoints.note_commit()
        return [*again, *batches]

    def has_room(self) -> bool:
        """Say whether a file that was full has room for a good while again."""
        with self._transaction():
            return self._database.used_bytes() < self._limits.file_bytes * _ROOM_AGAIN

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
        except SQL_ERRORS as error:
            raise self._database.explain(error, committed_ms=self._committed_ms) from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Read in a transaction; a row that cannot be read damages the file."""
        try:
            with self._transaction():
                yield
        except READ_ERRORS as error:
            reason = f"a row of it cannot be read: {type(error).__name__}"
            raise self._database.declare_damaged(reason) from error

    def _keep_house(self, change: Change, now_ms: int) -> bool:
        """Drop, redrive, expire and prune, a chunk of each; say whether there is more to do."""
        self._letters.watch(self._db)
        more = self._parking.drop(self._db, change, CHUNK)
        self._parking.take_up(self._db)
        more |= redrive(self._db, change, now_ms)
        if not self.letters_full:
            expired = expire(self._db, change, now_ms - self._limits.event_age_ms, now_ms)
            if expired:
                log.warning("events_expired", events=expired)
            more |= expired == CHUNK
        is_near = self._database.used_bytes() >= self._limits.file_bytes * NEAR
        old_ms = now_ms - self._limits.receipt_age_ms
        more |= prune_started(self._db, old_ms, CHUNK) == CHUNK
        return prune_receipts(self._db, _EVER if is_near else old_ms) == CHUNK or more

    def _add_lanes(self, lanes: Iterable[Lane]) -> None:
        """Number the new lanes, in a transaction of its own: a lane without events does no harm."""
        new = [lane for lane in lanes if lane not in self._lane_ids]
        if not new:
            return
        with self._transaction():
            added = lane_rows.add_lanes(self._db, new)
        for lane_id, lane in added:
            self._lanes[lane_id] = lane
            self._lane_ids[lane] = lane_id

    def _add_parameters(self, bodies: Iterable[str]) -> None:
        """Number parameters that are new, likewise."""
        new = self._parameters.find_new(bodies)
        if new:
            with self._transaction():
                added = add_parameters(self._db, new)
            self._parameters.learn(added)

    def _open_batches(self, *, only: int | None = None) -> list[Batch]:
        age_ms = self._limits.event_age_ms
        return batch_rows.open_batches(self._db, self._lanes, self._parameters, age_ms, only=only)

    def _write_events(self, events: Iterable[OutgoingEvent], change: Change, now_ms: int) -> None:
        rows = []
        maxima: dict[int, int | None] = {}
        for lane, destination, event_id, body, batch_max_events, parameters, key, signal in events:
            lane_id = self._lane_ids[lane]
            if batch_max_events not in (UNCHANGED, self._batch_max.get(lane_id)):
                maxima[lane_id] = batch_max_events
            change.delta[lane_id] += 1
            number = self._parameters.number(parameters)
            rows.append((lane_id, event_id, destination, body, number, key, signal, now_ms))
        statements.insert(self._db, batch_rows.PUT_EVENT, rows)
        for lane_id, maximum in maxima.items():
            lane_rows.write_batch_max(self._db, lane_id, maximum)
            # In memory at once: should this be rolled back, the worst is a batch of another size.
            self._batch_max[lane_id] = maximum

    def _write_report(self, report: Report, change: Change, now_ms: int) -> list[Batch]:
        """Write down what became of a batch; return it if it is to be sent again as it was."""
        lane_id = report.batch.lane_id
        match report:
            case Failed():
                batch_rows.note_failure(self._db, report, now_ms)
                return []
            case Accepted(batch):
                batch_rows.note_acceptance(self._db, lane_id, batch.accepted)
                return []
            case Forgotten():
                batch_rows.note_acceptance(self._db, lane_id, None)
                return self._open_batches(only=lane_id)
        self._settle(report, change, now_ms)
        return []

    def _settle(self, report: Settlement, change: Change, now_ms: int) -> None:
        """End the batch: its events are receipted, dead letters, or wait again."""
        lane_id, size = report.batch.lane_id, len(report.batch.event_ids)
        again = False
        match report:
            case Delivered():
                batch_rows.put_receipt(self._db, report, now_ms)
                change.limits[lane_id] = None
            case Deferred(rest_s=rest_s):
                change.rests[lane_id] = now_ms + round(rest_s * 1000)
                again = True
            case Refused(split=True):
                change.limits[lane_id] = size // 2
                again = True
            case Refused(reason=reason):
                batch_rows.bury(self._db, report.batch, reason, now_ms)
        batch_rows.end_batch(self._db, lane_id, keep_events=again)
        change.settled.add(lane_id)
        change.delta[lane_id] -= 0 if again else size

    def _begin_batch(self, lane_id: int, change: Change, now_ms: int) -> Batch | None:
        """Cut the lane's next batch and write it down; ``None`` if what is first in line was too old."""
        lane = self._lanes[lane_id]
        usual = self._batch_max.get(lane_id) or self._limits.batch_events or max_events(lane.workflow)
        limit = self._schedule.limit(lane_id, change, usual)
        events = read_stretch(self._db, lane_id, limit=limit)
        oldest_ms = min(events.entered_ms, default=0)
        if oldest_ms < now_ms - self._limits.event_age_ms and not self.letters_full:
            expired = self._expire(lane_id, now_ms)
            change.delta[lane_id] -= expired
            events = read_stretch(self._db, lane_id, limit=limit)
            if expired == CHUNK or not events.seqs:
                self.more_to_do |= expired == CHUNK
                return None
        events = events.fit()
        execution = f"{lane.guild_id}-{self._new_id(now_ms)}"
        age_ms = self._limits.event_age_ms
        return batch_rows.begin_batch(
            self._db, lane_id, lane, execution, now_ms, events, self._parameters, age_ms
        )

    def _expire(self, lane_id: int, now_ms: int) -> int:
        """Move the lane's first events that waited too long to the dead letters; return how many."""
        seqs = batch_rows.find_expired(self._db, lane_id, now_ms - self._limits.event_age_ms, CHUNK)
        batch_rows.bury_expired(self._db, seqs, now_ms)
        log.warning("events_expired", lane=self._lanes[lane_id], events=len(seqs))
        return len(seqs)
