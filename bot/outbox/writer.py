"""The outbox's thread: gathers what has come in, commits it as one transaction, and hands out batches.

Whatever comes in while one transaction is written goes into the next, so that under load one flush to disk
serves many frames, and a single frame never waits for company.

When the disk fails:

    writing     ── a commit fails ──▶ holding: keep what comes in, and try again every second
    holding     ── too much to keep, or the file is full ──▶ losing: let go of what comes in
    losing      ── a commit succeeds, and there is room ──▶ ask for a resync
    resync      compares what is on disk with what is known now; puts a gap and the differences
"""

import queue
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from bot.clock import Clock
from bot.errors import StoreDamagedError, StoreError, StoreFullError
from bot.outbox.batch import Batch, Failed
from bot.outbox.store import Store
from bot.outbox.work import Advanced, Captured, Drain, Item, Released, Resynced, Sync, Tick, Work
from bot.voice.occupancy import GuildOccupancy

_GROUP_MAX: Final = 4096
"""Observations of one transaction: more would keep its batches waiting."""
_HOLD_MAX: Final = 20_000
"""Observations kept in memory while the disk fails."""
_REMIND_MS: Final = 60_000

log = structlog.get_logger(__name__)


class Writer:
    """Owns *store* while ``run`` does. The callbacks are called on its thread.

    *deliver* takes batches to send, at most *slots* of a workflow at once. *ask_resync* takes the guilds that
    lost observations, as they are on disk, and since when; the answer comes in as a ``Resynced``. *give_up*
    takes what ended the thread.
    """

    def __init__(
        self,
        store: Store,
        inbox: "queue.SimpleQueue[Sequence[Item]]",
        *,
        deliver: Callable[[Sequence[Batch]], object],
        ask_resync: Callable[[Mapping[str, GuildOccupancy | None], int], object],
        give_up: Callable[[BaseException], object],
        slots: int,
        retry_s: float,
        clock: Clock,
    ) -> None:
        self._store = store
        self._inbox = inbox
        self._deliver = deliver
        self._ask_resync = ask_resync
        self._give_up = give_up
        self._slots = slots
        self._taken: Counter[str] = Counter()
        self._retry_s = retry_s
        self._clock = clock
        self._work = Work()
        self._syncs: list[Sync] = []
        self._lost_guilds: set[str] = set()
        self._lost_since_ms = 0
        # The last two commits: whatever was captured before the earlier one is on disk.
        self._committed_ms = self._safe_ms = clock()
        self._resync_asked = False
        self._reminded_ms: int | None = None
        self.losing = False
        self.failing: str | None = None
        """Why the disk takes nothing; ``None`` while it does."""

    def run(self) -> None:
        """Hand out what an earlier process left unsettled, then write until a ``Sync`` says stop."""
        try:
            stop = begun = False
            while not stop:
                # The first round is for what an earlier process left, and waits for nothing new.
                if begun or self.failing is not None:
                    self._gather()
                begun = begun or self._begin()
                committed = begun and self._commit()
                stop = any(sync.stop for sync in self._syncs)
                if committed or stop:
                    self._answer_syncs(committed=committed)
        except BaseException as error:  # noqa: BLE001  # the loop raises it
            self._give_up(error)

    def _begin(self) -> bool:
        """Hand out the batches of an earlier process; False if the disk does not let them be read."""
        try:
            batches = self._store.open_batches()
        except StoreDamagedError:
            raise
        except StoreError as error:
            self._fail(error, self._clock())
            return False
        self._hand_out(batches)
        return True

    def _hand_out(self, batches: Sequence[Batch]) -> None:
        self._taken.update(batch.lane.workflow for batch in batches)
        if batches:
            self._deliver(batches)

    def _gather(self) -> None:
        """Wait for something to do, or for the next try, and take all that has come in."""
        wait_s = self._retry_s if self.failing is not None else None
        if self._store.more_to_do and self.failing is None:
            self._work.housekeeping, wait_s = True, 0
        try:
            items = self._inbox.get(timeout=wait_s)
            while True:
                for item in items:
                    match item:
                        case Captured(observation) if self.losing:
                            self._lost_guilds.add(observation.guild_id)
                        case Captured():
                            self._work.capture(item)
                        case Released(events):
                            self._work.release(events)
                        case Tick(watched):
                            self._work.tick(watched)
                        case Advanced(positions):
                            # While frames are let go, only a replay or the resync can make up for them.
                            if not self.losing:
                                self._work.positions.update(positions)
                        case Resynced():
                            self._resync(item)
                        case Drain():
                            self._slots = 0
                        case Sync():
                            self._syncs.append(item)
                        case report:
                            self._work.reports.append(report)
                            if not isinstance(report, Failed):
                                self._taken[report.batch.lane.workflow] -= 1
                if len(self._work.observations) >= _GROUP_MAX:
                    break
                items = self._inbox.get_nowait()
        except queue.Empty:
            pass

    def _resync(self, resynced: Resynced) -> None:
        self.losing = self._resync_asked = False
        self._work.held_anew |= resynced.guild_ids
        for captured in resynced.captured:
            self._work.capture(captured)
        self._work.positions.update(resynced.positions)

    def _commit(self) -> bool:
        """Write what there is; False if the disk does not take it, and it is kept or let go."""
        if self.failing is not None and len(self._work.observations) > _HOLD_MAX:
            self._begin_losing()
        now_ms = self._clock()
        try:
            batches = self._store.apply(self._work, slots=self._slots, taken=self._taken, now_ms=now_ms)
        except StoreFullError as error:
            self._begin_losing()
            self._fail(error, now_ms)
            return False
        except StoreDamagedError:
            raise
        except StoreError as error:
            self._fail(error, now_ms)
            return False
        self._work = Work()
        self._hand_out(batches)
        if not self.losing:
            self._safe_ms, self._committed_ms = self._committed_ms, now_ms
            self._recover()
        elif not self._store.has_room():
            self._remind(now_ms)
        elif not self._resync_asked:
            self._resync_asked = True
            on_disk = self._store.load_occupancy()
            lost = {guild_id: on_disk.get(guild_id) for guild_id in self._lost_guilds}
            self._ask_resync(lost, self._lost_since_ms)
        return True

    def _answer_syncs(self, *, committed: bool) -> None:
        if not committed:
            log.error("outbox_left_uncommitted", observations=len(self._work.observations))
        for sync in self._syncs:
            sync.done()
        self._syncs.clear()

    def _begin_losing(self) -> None:
        if not self._lost_guilds:
            self._lost_since_ms = self._safe_ms
        self.losing = True
        self._resync_asked = False
        self._lost_guilds.update(self._work.drop_captured())

    def _fail(self, error: StoreError, now_ms: int) -> None:
        self.failing = str(error)
        self._remind(now_ms)

    def _remind(self, now_ms: int) -> None:
        if self._reminded_ms is None or now_ms - self._reminded_ms >= _REMIND_MS:
            self._reminded_ms = now_ms
            log.error("outbox_commit_failed", reason=self.failing, losing=self.losing, retry_s=self._retry_s)

    def _recover(self) -> None:
        if self.failing is not None:
            log.info("outbox_commit_recovered", guilds_resynced=len(self._lost_guilds))
            self.failing = self._reminded_ms = None
        self._lost_guilds.clear()
