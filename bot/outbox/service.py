"""The outbox as the event loop sees it: takes what happened, hands out batches, never makes the loop wait.

All disk work is done on one thread, by the ``Writer``. What is put wakes it at once, but for a receipt that
comes while the thread is idle and that nothing waits for: it waits for company here rather than there.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import structlog

from bot.clock import Clock, system_clock
from bot.outbox.batch import Batch, Delivered
from bot.outbox.session import Position
from bot.outbox.store import Store
from bot.outbox.work import Advanced, Captured, Drain, Item, LetGo, Resynced, Sync, Tick, Watched
from bot.outbox.writer import RECEIPT_WAIT_S, Writer
from bot.voice.occupancy import GuildOccupancy

MAX_IN_FLIGHT: Final = 64
"""Batches of one workflow in flight at once, each of a lane of its own."""

HUNG_S: Final = 10.0
"""A disk that takes longer for one transaction hangs."""
INBOX_MAX: Final = 100_000
INBOX_HUNG_MAX: Final = 20_000
"""Items kept in memory for the thread: in a burst, and while the disk hangs."""

_RETRY_S: Final = 1.0

Deliver = Callable[[Sequence[Batch]], object]
Positions = Callable[[], Mapping[int, Position]]
Resync = Callable[[Mapping[str, GuildOccupancy | None]], Sequence[Captured]]

log = structlog.get_logger(__name__)


class Outbox:
    """Owns *store* from ``start`` to ``close``; every method is called on the event loop.

    At most *max_in_flight* batches of a workflow are out at once. Each is settled once, by a report, which
    frees its lane.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        retry_s: float = _RETRY_S,
        clock: Clock = system_clock,
    ) -> None:
        self._store = store
        self._max_in_flight = max_in_flight
        self._retry_s = retry_s
        self._clock = clock
        self._inbox: queue.SimpleQueue[Sequence[Item]] = queue.SimpleQueue()
        self._gathered: list[Item] = []
        self._receipts: list[Item] = []
        self._receipts_due: asyncio.TimerHandle | None = None
        self._passed = 0
        self._passed_ms = clock()
        self._let_go_guilds: set[str] = set()
        self._writer: Writer | None = None
        self._thread: threading.Thread | None = None
        self._broken: asyncio.Future[None]

    def start(self, *, deliver: Deliver, resync: Resync, positions: Positions) -> None:
        """Hand out what an earlier process left unsettled, then begin to work. All are called on the loop.

        *deliver* takes batches to send. *resync* is called when the disk takes writes again after some
        observations were let go: with the guilds concerned as they are on disk, unwatched. It returns what
        makes up for them, and *positions* how far the gateway's sessions have been taken in then.
        """
        if self._thread is not None:
            raise RuntimeError("the outbox was started already")
        loop = asyncio.get_running_loop()
        self._broken = loop.create_future()

        def answer_resync(on_disk: Mapping[str, GuildOccupancy | None]) -> None:
            # Whatever was put before this is in the answer; whatever is put after it comes after it.
            self.put(Resynced(resync(on_disk), frozenset(on_disk), positions()))

        on_loop: Callable[..., object] = loop.call_soon_threadsafe
        self._writer = Writer(
            self._store,
            self._inbox,
            deliver=partial(on_loop, deliver),
            ask_resync=partial(on_loop, answer_resync),
            give_up=partial(on_loop, self._broken.set_exception),
            slots=self._max_in_flight,
            retry_s=self._retry_s,
            clock=self._clock,
        )
        self._thread = threading.Thread(target=self._writer.run, name="outbox", daemon=True)
        self._thread.start()

    async def wait_broken(self) -> None:
        """Wait for as long as all is well; raises what ended the writer."""
        await asyncio.shield(self._broken)

    def put(self, item: Item) -> None:
        """Take what a frame changed, what the debounce let go, or what became of a batch.

        Each is committed as one, after all that was put before and with all of the same turn of the loop.
        """
        if isinstance(item, Delivered) and self._may_wait(item):
            self._receipts.append(item)
            if self._receipts_due is None:
                self._receipts_due = asyncio.get_running_loop().call_later(RECEIPT_WAIT_S, self._pass_on)
            return
        # Waking the thread is not free, so all items of one turn of the loop go together.
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._pass_on)
        self._gathered.append(item)

    def tick(self, watched: Watched | None) -> None:
        """Do the regular housekeeping, and note until when the shards were watching."""
        self.put(Tick(watched))

    def drain(self) -> None:
        """Begin no more batches; what is put is committed as before."""
        self.put(Drain())

    async def flush(self) -> None:
        """Wait until everything put so far is on disk."""
        await self._sync(stop=False)

    async def close(self) -> None:
        """Commit what is left, end the thread and close the file.

        A disk that does not take it now, or hangs, is not waited for: the next process finds the difference
        again when it compares the file with Discord's snapshots.
        """
        if self._thread is not None and self._thread.is_alive():
            await self._sync(stop=True)
            if self._is_hung:
                log.error("outbox_left_uncommitted", items=self._passed, reason=self.failing)
                return
            await asyncio.to_thread(self._thread.join)
        self._store.close()

    @property
    def waiting(self) -> int:
        """How many events on disk are not delivered yet."""
        return self._store.waiting

    @property
    def can_bury(self) -> bool:
        """Whether there is room for more dead letters."""
        return not self._store.letters_full

    def waits_behind(self, batch: Batch) -> bool:
        """Say whether events of its lane wait for *batch* to end."""
        return self._store.waits_behind(batch)

    @property
    def backlog(self) -> int:
        """How many turns of the loop have left items that wait to be committed."""
        return self._inbox.qsize()

    @property
    def failing(self) -> str | None:
        """Why nothing can be committed; ``None`` while the disk takes what it is given."""
        if self._writer is None:
            return None
        if self._is_hung:
            return f"the disk has not answered for {self._writer.busy_s:.0f} s"
        return self._writer.failing

    @property
    def losing(self) -> bool:
        """Whether the disk has failed for so long that observations are let go."""
        return self._writer is not None and self._writer.losing

    def _may_wait(self, receipt: Delivered) -> bool:
        """Say whether nothing waits for what the receipt frees, nor can while nothing else is put."""
        return (
            self._writer is not None
            and not self._gathered
            and self._writer.done == self._passed
            and not (self._writer.lanes_due or self._store.waits_behind(receipt.batch))
        )

    def _pass_on(self) -> None:
        gathered = [*self._receipts, *self._gathered]
        self._gathered, self._receipts = [], []
        if self._receipts_due is not None:
            self._receipts_due.cancel()
            self._receipts_due = None
        if self._is_overflowing():
            gathered = self._let_go(gathered)
        elif self._let_go_guilds:
            self._let_go_guilds.clear()
        self._passed_ms = self._clock()
        if gathered:
            self._passed += len(gathered)
            self._inbox.put(gathered)

    @property
    def _is_hung(self) -> bool:
        return self._writer is not None and self._writer.busy_s >= HUNG_S

    def _is_overflowing(self) -> bool:
        """Tell whether the thread has taken over too little for too long."""
        if self._writer is None:
            return False
        waiting = self._passed - self._writer.taken
        return waiting > INBOX_MAX or (waiting > INBOX_HUNG_MAX and self._is_hung)

    def _let_go(self, gathered: Sequence[Item]) -> list[Item]:
        """Return *gathered* with what was captured reduced to the guilds that it was of.

        The thread takes nothing over, because the disk hangs, and what waits for it must not fill the memory.
        """
        captured = {item.observation.guild_id for item in gathered if isinstance(item, Captured)}
        let_go = LetGo(dict.fromkeys(captured - self._let_go_guilds, self._passed_ms))
        self._let_go_guilds |= captured
        rest: list[Item] = [item for item in gathered if not isinstance(item, Captured | Advanced | Tick)]
        return [let_go, *rest] if let_go.since_ms else rest

    async def _sync(self, *, stop: bool) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def set_done() -> None:
            # The loop may be closed by now, if the disk hung.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(done.set_result, None)

        self.put(Sync(set_done, stop))
        ended = [done, self._broken]
        while not self._is_hung and not any(future.done() for future in ended):
            await asyncio.wait(ended, timeout=_RETRY_S, return_when=asyncio.FIRST_COMPLETED)
