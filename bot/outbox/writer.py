"""The outbox's thread: gathers what has come in, commits it as one transaction, and hands out batches.

Whatever comes in while one transaction is written goes into the next, so that under load one flush to disk
serves many frames, and a single frame never waits for company. A receipt does, for a moment, while nothing
waits for what it frees: at a quiet time the next frame's transaction then takes it along. A crash meanwhile
repeats a request that is known to the API.

When the disk fails:

    writing     ── a commit fails ──▶ holding: keep what comes in, and try again every second
    holding     ── too much to keep, or the file is full ──▶ dropping: let go of what comes in
    dropping    ── a commit succeeds, and there is room ──▶ writing, and a resync of what was lost

``Losses`` has the guilds that lost something, and says how each recovers.
"""

import queue
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from bot.clock import Clock
from bot.errors import StoreDamagedError, StoreError, StoreFullError
from bot.outbox.batch import Accepted, Batch, Delivered, Failed, Report
from bot.outbox.losses import Losses
from bot.outbox.store import Store
from bot.outbox.work import Advanced, Captured, Drain, Item, LetGo, Released, Resynced, Sync, Tick, Work
from bot.voice.occupancy import GuildOccupancy

_GROUP_MAX: Final = 4096
"""Observations of one transaction: more would keep its batches waiting."""
_HOLD_MAX: Final = 20_000
"""Observations kept in memory while the disk fails."""
_REMIND_MS: Final = 60_000
RECEIPT_WAIT_S: Final = 0.02
_HUNG: Final = "the disk kept the outbox waiting for so long that observations were let go"

log = structlog.get_logger(__name__)


class Writer:
    """Owns *store* while ``run`` does. The callbacks are called on its thread.

    *deliver* takes batches to send, at most *slots* of a workflow at once. *ask_resync* takes guilds that
    lost observations, as they are on disk; the answer comes in as a ``Resynced``. *give_up* takes what ended
    the thread.
    """

    def __init__(
        self,
        store: Store,
        inbox: "queue.SimpleQueue[Sequence[Item]]",
        *,
        deliver: Callable[[Sequence[Batch]], object],
        ask_resync: Callable[[Mapping[str, GuildOccupancy | None]], object],
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
        self._losses = Losses()
        # The last two commits: whatever was captured before the earlier one is on disk.
        self._committed_ms = self._safe_ms = clock()
        self._reminded_ms: int | None = None
        self._busy_since_s: float | None = None
        self.taken = 0
        """How many items it has taken over from the inbox."""
        self.done = 0
        """How many of them are on disk, or were let go."""
        self.lanes_due = True
        """Whether lanes wait for a place."""
        self.failing: str | None = None
        """Why the disk takes nothing; ``None`` while it does."""

    @property
    def losing(self) -> bool:
        """Whether observations are let go, of some guilds at least."""
        return self._losses.dropping or len(self._losses) > 0

    @property
    def busy_s(self) -> float:
        """For how long the disk has kept the thread waiting."""
        since_s = self._busy_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def run(self) -> None:
        """Hand out what an earlier process left unsettled, then write until a ``Sync`` says stop."""
        try:
            stop = begun = False
            while not stop:
                # The first round is for what an earlier process left, and waits for nothing new.
                if begun or self.failing is not None:
                    self._gather()
                self._busy_since_s = time.monotonic()
                begun = begun or self._begin()
                committed = begun and self._commit()
                self._busy_since_s = None
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
        """Pass on *batches*; one that is followed takes no place."""
        self._taken.update(batch.lane.workflow for batch in batches if batch.accepted is None)
        if batches:
            self._deliver(batches)

    def _gather(self) -> None:
        """Wait for something to do, or for the next try, and take all that has come in."""
        wait_s = self._retry_s if self.failing is not None else None
        if self._store.more_to_do and self.failing is None:
            self._work.housekeeping, wait_s = True, 0
        try:
            self._take(self._inbox.get(timeout=wait_s))
            until_s = time.monotonic() + RECEIPT_WAIT_S
            while len(self._work.observations) < _GROUP_MAX:
                left_s = max(0.0, until_s - time.monotonic()) if self._may_wait() else 0.0
                self._take(self._inbox.get(timeout=left_s))
        except queue.Empty:
            pass

    def _may_wait(self) -> bool:
        """Say whether all that has come in is receipts, and nothing waits for what they free."""
        work = self._work
        return (
            bool(work.reports)
            and work == Work(reports=work.reports)
            and all(isinstance(report, Delivered) for report in work.reports)
            and not (self._syncs or self._store.lanes_due)
            and not any(self._store.waits_behind(report.batch) for report in work.reports)
        )

    def _take(self, items: Sequence[Item]) -> None:
        self.taken += len(items)
        for item in items:
            match item:
                case Captured(observation) if self._losses.holds(observation.guild_id):
                    self._losses.add([observation.guild_id], self._safe_ms)
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
                case LetGo():
                    self._let_go(item)
                case Resynced():
                    self._resync(item)
                case Drain():
                    self._slots = 0
                case Sync():
                    self._syncs.append(item)
                case report:
                    self._report(report)

    def _report(self, report: Report) -> None:
        """Take what became of a batch; it gives its place back when it is accepted or else settled."""
        self._work.reports.append(report)
        batch = report.batch
        if isinstance(report, Accepted) or (batch.accepted is None and not isinstance(report, Failed)):
            self._taken[batch.lane.workflow] -= 1

    def _let_go(self, item: LetGo) -> None:
        """Note what the loop let go, while the disk kept this thread waiting."""
        for guild_id, since_ms in item.since_ms.items():
            self._losses.add([guild_id], since_ms)
        self._fail(StoreError(_HUNG), self._clock())

    def _resync(self, resynced: Resynced) -> None:
        self._losses.answer(resynced.guild_ids)
        self._work.held_anew |= resynced.guild_ids
        for captured in resynced.captured:
            self._work.capture(captured)
        self._work.positions.update(resynced.positions)

    def _commit(self) -> bool:
        """Write what there is; False if the disk does not take it, and it is kept or let go."""
        if self.failing is not None and len(self._work.observations) > _HOLD_MAX:
            self._drop()
        now_ms = self._clock()
        self._work.losses = self._losses.unwritten()
        if self.losing:
            # A session that went on would never replay what was let go.
            self._work.positions.clear()
        try:
            batches = self._store.apply(self._work, slots=self._slots, taken=self._taken, now_ms=now_ms)
        except StoreFullError as error:
            self._drop()
            self._fail(error, now_ms)
            return False
        except StoreDamagedError:
            raise
        except StoreError as error:
            self._fail(error, now_ms)
            return False
        self._work = Work()
        self._losses.commit()
        self._safe_ms, self._committed_ms = self._committed_ms, now_ms
        # Before a batch can be reported on.
        self.lanes_due = self._store.lanes_due
        self.done = self.taken
        self._hand_out(batches)
        self._recover(now_ms)
        return True

    def _answer_syncs(self, *, committed: bool) -> None:
        if not committed:
            log.error("outbox_left_uncommitted", observations=len(self._work.observations))
        for sync in self._syncs:
            sync.done()
        self._syncs.clear()

    def _drop(self) -> None:
        """Let go of what was captured, and of what is captured from now on."""
        self._losses.dropping = True
        self._losses.add(self._work.drop_captured(), self._safe_ms)

    def _fail(self, error: StoreError, now_ms: int) -> None:
        self.failing = str(error)
        self._remind(now_ms)

    def _remind(self, now_ms: int) -> None:
        if self._reminded_ms is None or now_ms - self._reminded_ms >= _REMIND_MS:
            self._reminded_ms = now_ms
            log.error("outbox_commit_failed", reason=self.failing, losing=self.losing, retry_s=self._retry_s)

    def _recover(self, now_ms: int) -> None:
        """After a commit: ask for the resync of what was lost, or note that nothing is any more."""
        try:
            if self._losses.dropping and not self._store.has_room():
                self._remind(now_ms)
                return
            self._losses.dropping = False
            if lost := self._losses.to_ask():
                on_disk = self._store.load_occupancy()
                self._losses.ask(lost)
                self._ask_resync({guild_id: on_disk.get(guild_id) for guild_id in lost})
        except StoreDamagedError:
            raise
        except StoreError as error:
            self._fail(error, now_ms)
            return
        if not self._losses:
            if self.failing is not None:
                log.info("outbox_commit_recovered", guilds_resynced=self._losses.mended)
                self.failing = self._reminded_ms = None
            self._losses.mended = 0
