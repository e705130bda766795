"""The outbox as the event loop sees it: takes what happened, hands out batches, never makes the loop wait.

All disk work is done by one thread. Whatever has gathered while it wrote goes into its next transaction, so
that one flush to disk serves many frames under load and a single frame never waits for company.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import structlog

from bot.batch import Batch, OutgoingEvent, Settlement
from bot.capture import Observation
from bot.errors import StoreError
from bot.store import Store, Work
from bot.timestamps import Clock, system_clock

MAX_IN_FLIGHT: Final = 64
"""Batches that are out at once, each of a lane of its own."""

_GROUP_MAX = 4096
_RETRY_S = 1.0

log = structlog.get_logger(__name__)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Seen:
    observation: Observation
    events: Sequence[OutgoingEvent]


@dataclass(frozen=True, slots=True)
class _Watched:
    until_ms: int


@dataclass(frozen=True, slots=True)
class _Drain:
    """Begin no more batches."""


@dataclass(frozen=True, slots=True)
class _Sync:
    """Call back once everything before this is on disk; *stop* ends the thread then."""

    done: Callable[[], object]
    stop: bool = False


_Item = _Seen | _Watched | Settlement | _Drain | _Sync


@dataclass(slots=True)
class _Group:
    """What goes into one transaction, and whom to tell after it."""

    work: Work = field(default_factory=Work)
    syncs: list[_Sync] = field(default_factory=list)


class Outbox:
    """Owns *store* from ``start`` to ``close``; every method is called on the event loop.

    *deliver* is called on the loop with each batch that is to be sent; each is settled once, which frees its
    lane and one of the *max_in_flight* places.
    """

    def __init__(
        self,
        store: Store,
        deliver: Callable[[Batch], object],
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        clock: Clock = system_clock,
    ) -> None:
        self._store = store
        self._deliver = deliver
        self._clock = clock
        self._slots = max_in_flight
        self._inbox: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failing: str | None = None
        self._closing = threading.Event()
        self._gave_up = False

    def start(self) -> None:
        """Hand out what an earlier process left unsettled, then begin to work."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def put(self, observation: Observation, events: Sequence[OutgoingEvent]) -> None:
        """Take what a frame changed; both parts are committed together, after all that was put before."""
        self._inbox.put(_Seen(observation, events))

    def watched(self, until_ms: int) -> None:
        """Note that everything up to *until_ms* was watched."""
        self._inbox.put(_Watched(until_ms))

    def settle(self, settlement: Settlement) -> None:
        self._inbox.put(settlement)

    def drain(self) -> None:
        """Begin no more batches; what is put and settled is committed as before."""
        self._inbox.put(_Drain())

    async def flush(self) -> None:
        """Wait until everything put so far is on disk."""
        await self._sync(stop=False)

    async def close(self) -> None:
        """Commit what is waiting to be committed, end the thread and close the file.

        A disk that will not take it now is not waited for: the next process finds the difference again when
        it compares what it has with Discord's snapshots.
        """
        self._closing.set()
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
        """How many things are waiting to be committed."""
        return self._inbox.qsize()

    @property
    def failing(self) -> str | None:
        """Why the last attempt to commit failed; ``None`` while the disk takes what it is given."""
        return self._failing

    async def _sync(self, *, stop: bool) -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._inbox.put(_Sync(lambda: loop.call_soon_threadsafe(done.set_result, None), stop))
        await done

    def _run(self) -> None:
        self._hand_out(self._open_batches())
        stop = False
        while not stop:
            group = self._gather()
            self._hand_out(self._commit(group.work))
            for sync in group.syncs:
                sync.done()
                stop = stop or sync.stop

    def _open_batches(self) -> list[Batch]:
        batches = self._insist(self._store.open_batches)
        if batches is None:
            return []
        self._slots -= len(batches)
        self._insist(lambda: self._store.prune_receipts(now_ms=self._clock()))
        # Lanes that were waiting at the start fall due without any new event.
        return batches + self._commit(Work())

    def _gather(self) -> _Group:
        """Wait for something to do and take all that has gathered."""
        group = _Group()
        self._sort_in(self._inbox.get(), group)
        for _ in range(_GROUP_MAX):
            try:
                self._sort_in(self._inbox.get_nowait(), group)
            except queue.Empty:
                break
        return group

    def _sort_in(self, item: _Item, group: _Group) -> None:
        match item:
            case _Seen(observation, events):
                group.work.observations.append(observation)
                group.work.events.extend(events)
            case _Watched(until_ms):
                group.work.watched_until_ms = until_ms
            case _Drain():
                self._slots = -(2**31)
            case _Sync():
                group.syncs.append(item)
            case settlement:
                group.work.settlements.append(settlement)
                self._slots += 1

    def _commit(self, work: Work) -> list[Batch]:
        """Write *work* and return the batches that this begins."""
        if self._gave_up:
            # What came after must not be on disk without what came before: the next process would take it
            # for all there was. Settlements stand for themselves.
            work = Work(settlements=work.settlements)
        batches = self._insist(
            lambda: self._store.apply(work, slots=max(0, self._slots), now_ms=self._clock())
        )
        if batches is None:
            self._gave_up = True
            log.error("outbox_commit_given_up", observations=len(work.observations), reason=self._failing)
            return []
        self._slots -= len(batches)
        return batches

    def _insist(self, use_disk: Callable[[], _T]) -> _T | None:
        """Return what *use_disk* does, trying until the disk plays along: nothing else is worth doing.

        ``None`` where it still did not when the outbox closed.
        """
        while True:
            try:
                result = use_disk()
            except StoreError as error:
                if self._failing is None:
                    log.error("outbox_commit_failed", reason=str(error), retry_s=_RETRY_S)
                self._failing = str(error)
                if self._closing.is_set():
                    return None
                self._closing.wait(_RETRY_S)
            else:
                if self._failing is not None:
                    log.info("outbox_commit_recovered")
                    self._failing = None
                return result

    def _hand_out(self, batches: list[Batch]) -> None:
        if batches and self._loop is not None:
            self._loop.call_soon_threadsafe(self._deliver_all, batches)

    def _deliver_all(self, batches: list[Batch]) -> None:
        for batch in batches:
            self._deliver(batch)
