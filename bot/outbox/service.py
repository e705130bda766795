"""The outbox as the event loop sees it: takes what happened, hands out batches, never makes the loop wait.

All disk work is done by one thread. Whatever has gathered while it wrote goes into its next transaction, so
that one flush to disk serves many frames under load and a single frame never waits for company.

When the disk does not take it:

    writing     ── the disk fails ──▶ holding: what comes is kept, and tried again every second
    holding     ── too much to keep, or the file has its full size ──▶ losing: what comes is let go
    losing      ── the disk takes a write, and there is room ──▶ asks for a resync
    resync      what is on disk is compared with what is known now; a gap and the differences are put
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

import structlog

from bot.clock import Clock, system_clock
from bot.errors import StoreDamagedError, StoreError, StoreFullError
from bot.outbox.batch import Batch, Failed, OutgoingEvent, Report
from bot.outbox.store import Store, Watched, Work
from bot.routing.debounce import Held, HeldKey
from bot.voice.observation import Observation
from bot.voice.occupancy import GuildOccupancy

MAX_IN_FLIGHT: Final = 64
"""Batches that are out at once, each of a lane of its own."""

_GROUP_MAX = 4096
_HELD_MAX = 20_000
_RETRY_S = 1.0
_REMIND_MS = 60_000

Resync = Callable[[Mapping[str, GuildOccupancy | None], int], Sequence["Seen"]]

log = structlog.get_logger(__name__)


class Seen(NamedTuple):
    """What one frame changed, committed as one: rows, events to deliver, and what is held to settle."""

    observation: Observation
    events: Sequence[OutgoingEvent]
    held: Mapping[HeldKey, Held | None] = MappingProxyType({})


class Settled(NamedTuple):
    """Events that were held and are no longer."""

    events: Mapping[HeldKey, OutgoingEvent]


@dataclass(frozen=True, slots=True)
class _Tick:
    watched: Watched | None


@dataclass(frozen=True, slots=True)
class _Resynced:
    """What makes up for what was let go; ``held`` is all that is held of the guilds."""

    seen: Sequence[Seen]
    guild_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Drain:
    """Begin no more batches."""


@dataclass(frozen=True, slots=True)
class _Sync:
    """Call back once everything before this is on disk; *stop* ends the thread then."""

    done: Callable[[], object]
    stop: bool = False


_Item = Seen | Settled | _Tick | _Resynced | Report | _Drain | _Sync


class Outbox:
    """Owns *store* from ``start`` to ``close``; every method is called on the event loop.

    *deliver* is called on the loop with each batch that is to be sent; each is settled once, which frees its
    lane and one of the *max_in_flight* places. *resync* is called on the loop when the disk takes writes
    again after some were let go: with the guilds concerned as they are on disk, and since when; it returns
    what is to be put to make up for it.
    """

    def __init__(
        self,
        store: Store,
        deliver: Callable[[Batch], object],
        resync: Resync,
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        retry_s: float = _RETRY_S,
        clock: Clock = system_clock,
    ) -> None:
        self._deliver = deliver
        self._resync = resync
        self._inbox: queue.SimpleQueue[list[_Item]] = queue.SimpleQueue()
        self._gathered: list[_Item] = []
        self._writer = _Writer(store, self._inbox, self, max_in_flight, retry_s, clock)
        self._thread = threading.Thread(target=self._writer.run, name="outbox", daemon=True)
        self._store = store
        self._loop: asyncio.AbstractEventLoop | None = None
        self._broken: asyncio.Future[None]

    def start(self) -> None:
        """Hand out what an earlier process left unsettled, then begin to work."""
        self._loop = asyncio.get_running_loop()
        self._broken = self._loop.create_future()
        self._thread.start()

    async def wait_broken(self) -> None:
        """Wait for as long as all is well; raises what ended the work of the thread."""
        await asyncio.shield(self._broken)

    def put(self, seen: Seen) -> None:
        """Take what a frame changed; it is committed as one, after all that was put before."""
        self._add(seen)

    def settled(self, settled: Settled) -> None:
        """Take what was held long enough."""
        self._add(settled)

    def tick(self, watched: Watched | None) -> None:
        """Do what is due regularly, and note until when there was watching."""
        self._add(_Tick(watched))

    def report(self, report: Report) -> None:
        """Take what became of a batch, or of an attempt at it."""
        self._add(report)

    def drain(self) -> None:
        """Begin no more batches; what is put and reported is committed as before."""
        self._add(_Drain())

    async def flush(self) -> None:
        """Wait until everything put so far is on disk."""
        await self._sync(stop=False)

    async def close(self) -> None:
        """Commit what is waiting to be committed, end the thread and close the file.

        A disk that will not take it now is not waited for: the next process finds the difference again when
        it compares what it has with Discord's snapshots.
        """
        if self._thread.is_alive():
            await self._sync(stop=True)
            await asyncio.to_thread(self._thread.join)
        self._store.close()

    @property
    def waiting(self) -> int:
        """How many events on disk are not delivered yet."""
        return self._store.waiting

    @property
    def backlog(self) -> int:
        """How many turns of the loop have left things that wait to be committed."""
        return self._inbox.qsize()

    @property
    def failing(self) -> str | None:
        """Why nothing can be committed; ``None`` while the disk takes what it is given."""
        return self._writer.failing

    def _add(self, item: _Item) -> None:
        """Pass *item* to the writer with all else of this turn of the loop: waking a thread is not free."""
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._pass_on)
        self._gathered.append(item)

    def _pass_on(self) -> None:
        gathered, self._gathered = self._gathered, []
        self._inbox.put(gathered)

    async def _sync(self, *, stop: bool) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._add(_Sync(lambda: loop.call_soon_threadsafe(done.set_result, None), stop))
        await asyncio.wait([done, self._broken], return_when=asyncio.FIRST_COMPLETED)

    def give_up(self, error: BaseException) -> None:
        """Pass on what ended the writer's thread; called on it."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._broken.set_exception, error)

    def hand_out(self, batches: Sequence[Batch]) -> None:
        """Pass *batches* to the loop; called on the writer's thread."""
        if batches and self._loop is not None:
            self._loop.call_soon_threadsafe(self._deliver_all, batches)

    def ask_for_resync(self, on_disk: Mapping[str, GuildOccupancy | None], since_ms: int) -> None:
        """Ask the loop what is to be made up for; called on the writer's thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._answer_resync, on_disk, since_ms)

    def _deliver_all(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self._deliver(batch)

    def _answer_resync(self, on_disk: Mapping[str, GuildOccupancy | None], since_ms: int) -> None:
        # Whatever is put before this is in the answer, whatever is put after it comes after it.
        self._add(_Resynced(self._resync(on_disk, since_ms), frozenset(on_disk)))


class _Writer:
    """The outbox's thread, and all that only it touches."""

    def __init__(
        self,
        store: Store,
        inbox: queue.SimpleQueue[list[_Item]],
        outbox: Outbox,
        slots: int,
        retry_s: float,
        clock: Clock,
    ) -> None:
        self._store = store
        self._inbox = inbox
        self._outbox = outbox
        self._slots = slots
        self._retry_s = retry_s
        self._clock = clock
        self._work = Work()
        self._syncs: list[_Sync] = []
        self._losing = False
        self._lost_guilds: set[str] = set()
        self._lost_since_ms = 0
        # The two last commits: whatever was seen before the earlier one is on disk.
        self._committed_ms = self._safe_ms = clock()
        self._asked = False
        self._reminded_ms: int | None = None
        self.failing: str | None = None

    def run(self) -> None:
        try:
            self._write_until_stopped()
        except BaseException as error:  # noqa: BLE001  # the loop is told, and raises it
            self._outbox.give_up(error)

    def _write_until_stopped(self) -> None:
        stop = begun = False
        while not stop:
            # The first round is for what an earlier process left, and waits for nothing new.
            if begun or self.failing is not None:
                self._gather()
            begun = begun or self._begin()
            committed = begun and self._commit()
            stop = any(sync.stop for sync in self._syncs)
            if committed or stop:
                if not committed:
                    log.error("outbox_left_uncommitted", observations=len(self._work.observations))
                for sync in self._syncs:
                    sync.done()
                self._syncs.clear()

    def _begin(self) -> bool:
        """Hand out what an earlier process left unsettled; False if the disk does not let it be read."""
        try:
            batches = self._store.open_batches()
        except StoreDamagedError:
            raise
        except StoreError as error:
            self._fail(error, self._clock())
            return False
        self._slots -= len(batches)
        self._outbox.hand_out(batches)
        return True

    def _gather(self) -> None:
        """Wait for something to do, or for the next try, and take all that has gathered."""
        try:
            items = self._inbox.get(timeout=self._retry_s if self.failing is not None else None)
            while True:
                for item in items:
                    self._sort_in(item)
                if len(self._work.observations) >= _GROUP_MAX:
                    break
                items = self._inbox.get_nowait()
        except queue.Empty:
            pass

    def _sort_in(self, item: _Item) -> None:
        match item:
            case Seen():
                self._take(item)
            case Settled(events):
                # Taken even while losing: what was held is on disk already, and few.
                self._work.released.extend(events.values())
                self._work.held.update(dict.fromkeys(events))
            case _Tick(watched):
                self._work.watched = watched or self._work.watched
                self._work.housekeeping = True
            case _Resynced(seen, guild_ids):
                self._losing = self._asked = False
                self._work.held_anew |= guild_ids
                for one in seen:
                    self._take(one)
            case _Drain():
                self._slots = -(2**31)
            case _Sync():
                self._syncs.append(item)
            case Failed():
                self._work.reports.append(item)
            case settlement:
                self._work.reports.append(settlement)
                self._slots += 1

    def _take(self, seen: Seen) -> None:
        if self._losing:
            self._lost_guilds.add(seen.observation.guild_id)
        else:
            self._work.observations.append(seen.observation)
            self._work.events.extend(seen.events)
            self._work.held.update(seen.held)

    def _commit(self) -> bool:
        """Write what there is; False if the disk does not take it, and it is kept or let go."""
        if self.failing is not None and len(self._work.observations) > _HELD_MAX:
            self._begin_to_lose()
        now_ms = self._clock()
        try:
            batches = self._store.apply(self._work, slots=max(0, self._slots), now_ms=now_ms)
        except StoreFullError as error:
            self._begin_to_lose()
            self._fail(error, now_ms)
            return False
        except StoreDamagedError:
            raise
        except StoreError as error:
            self._fail(error, now_ms)
            return False
        self._work = Work()
        self._slots -= len(batches)
        self._outbox.hand_out(batches)
        if not self._losing:
            self._safe_ms, self._committed_ms = self._committed_ms, now_ms
            self._recover()
        elif not self._store.has_room():
            self._remind(now_ms)
        elif not self._asked:
            self._asked = True
            on_disk = self._store.load_occupancy()
            self._outbox.ask_for_resync(
                {guild_id: on_disk.get(guild_id) for guild_id in self._lost_guilds}, self._lost_since_ms
            )
        return True

    def _begin_to_lose(self) -> None:
        """Let go of what cannot be kept; what became of batches is few, and is kept."""
        if not self._lost_guilds:
            self._lost_since_ms = self._safe_ms
        self._losing = True
        self._asked = False
        self._lost_guilds.update(observation.guild_id for observation in self._work.observations)
        self._work.observations.clear()
        self._work.events.clear()
        released = {event.lane for event in self._work.released}
        self._work.held = {
            key: held for key, held in self._work.held.items() if held is None and key.lane in released
        }

    def _fail(self, error: StoreError, now_ms: int) -> None:
        self.failing = str(error)
        self._remind(now_ms)

    def _remind(self, now_ms: int) -> None:
        if self._reminded_ms is None or now_ms - self._reminded_ms >= _REMIND_MS:
            self._reminded_ms = now_ms
            log.error("outbox_commit_failed", reason=self.failing, losing=self._losing, retry_s=self._retry_s)

    def _recover(self) -> None:
        if self.failing is not None:
            log.info("outbox_commit_recovered", guilds_resynced=len(self._lost_guilds))
            self.failing = self._reminded_ms = None
        self._lost_guilds.clear()
