"""The outbox at work: its thread, a real file, and a disk that does not always play along."""

import asyncio
import dataclasses
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.errors import StoreError
from bot.outbox.batch import Acceptance, Accepted, Batch, Delivered, Refused
from bot.outbox.database import open_database
from bot.outbox.inspection import open_inspection
from bot.outbox.lane_marks import LaneMarks, LaneState
from bot.outbox.service import Outbox
from bot.outbox.store import Limits, Store
from bot.outbox.work import Captured, OutgoingEvent, Watched, Work
from bot.routing.lane import Lane
from bot.voice.observation import GuildRow, Observation

TIMEOUT_S = 20.0
LANE = Lane("notify", "1")


class Post:
    """Takes the batches that are handed out."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.changed = asyncio.Event()

    def deliver(self, batches: Sequence[Batch]) -> None:
        self.batches.extend(batches)
        self.changed.set()

    async def wait_for(self, count: int) -> list[Batch]:
        await until(lambda: len(self.batches) >= count, self.changed)
        return self.batches


async def until(condition: Callable[[], bool], changed: asyncio.Event) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            changed.clear()
            await changed.wait()


class Disk:
    """Stands before the store: counts what is written, holds it up, and fails."""

    def __init__(self, store: Store) -> None:
        self.works: list[Work] = []
        self.failures = 0
        self.tried = asyncio.Event()
        self.ready = threading.Event()
        self.ready.set()
        self._apply = store.apply
        self._loop = asyncio.get_running_loop()

    def apply(self, work: Work, **options: Any) -> list[Batch]:
        self._loop.call_soon_threadsafe(self.tried.set)
        assert self.ready.wait(TIMEOUT_S)
        if self.failures:
            self.failures -= 1
            raise StoreError("the outbox file cannot be written: disk I/O error")
        batches = self._apply(work, **options)
        self.works.append(work)
        return batches


def open_store(directory: Path, **limits: Any) -> Store:
    return Store(open_database(directory, synchronous="normal"), Limits(batch_events=3, **limits))


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def disk_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Store], Disk]:
    def stand_before(store: Store) -> Disk:
        disk = Disk(store)
        monkeypatch.setattr(store, "apply", disk.apply)
        return disk

    return stand_before


@asynccontextmanager
async def working(store: Store, post: Post, **options: Any) -> AsyncIterator[Outbox]:
    outbox = Outbox(store, retry_s=0.01, **options)
    outbox.start(deliver=post.deliver, resync=lambda _on_disk: [], positions=dict)
    try:
        yield outbox
    finally:
        await outbox.close()


def put(outbox: Outbox, *names: str, lane: Lane = LANE) -> None:
    """Put an event of each name, each with an observation of its own."""
    for name in names:
        row = GuildRow(name, True, None, None)
        event = OutgoingEvent(lane, "default", name, f'"{name}"')
        outbox.put(Captured(Observation(lane.guild_id, guild=row), [event]))


def names(batches: list[Batch]) -> list[str]:
    return [" ".join(batch.event_ids) for batch in batches]


def guild_name(directory: Path) -> str | None:
    store = open_store(directory)
    try:
        return store.load_occupancy()["1"].guild["name"]
    finally:
        store.close()


async def test_single_event_goes_at_once(tmp_path: Path, post: Post) -> None:
    async with working(open_store(tmp_path), post) as outbox:
        put(outbox, "a")
        assert names(await post.wait_for(1)) == ["a"]


async def test_gathers_into_one_transaction(
    tmp_path: Path, post: Post, disk_of: Callable[[Store], Disk]
) -> None:
    store = open_store(tmp_path)
    disk = disk_of(store)
    disk.ready.clear()
    async with working(store, post) as outbox:
        await disk.tried.wait()
        put(outbox, *map(str, range(3000)))
        disk.ready.set()
        await outbox.flush()
        assert [len(work.events) for work in disk.works] == [0, 3000]
        assert outbox.waiting == 3000


async def test_lane_delivers_in_order(tmp_path: Path, post: Post) -> None:
    sent = [str(number) for number in range(200)]
    async with working(open_store(tmp_path), post) as outbox:
        put(outbox, *sent)
        seen: list[str] = []
        while len(seen) < len(sent):
            (batch,) = await post.wait_for(1)
            post.batches.clear()
            seen += batch.event_ids
            outbox.put(Delivered(batch, "arn", 1))
        await outbox.flush()
        assert outbox.waiting == 0
    assert seen == sent


async def test_respects_max_in_flight(tmp_path: Path, post: Post) -> None:
    async with working(open_store(tmp_path), post, max_in_flight=2) as outbox:
        for number in range(5):
            put(outbox, f"e{number}", lane=Lane("notify", str(number)))
        await outbox.flush()
        first = list(await post.wait_for(2))
        await outbox.flush()
        assert len(post.batches) == 2
        outbox.put(Refused(first[0], "never"))
        assert len(await post.wait_for(3)) == 3


async def test_takes_up_marks_on_lanes(tmp_path: Path, post: Post) -> None:
    """Set by another process while the thread works; a drop of many events goes on by itself."""
    well = Lane("well", "1")
    async with working(open_store(tmp_path), post) as outbox:
        put(outbox, "a")
        (first,) = await post.wait_for(1)
        await asyncio.to_thread(mark_lane, tmp_path, LaneMarks.park)
        outbox.tick(None)
        outbox.put(Delivered(first, "arn", 1))
        put(outbox, *map(str, range(2500)))
        put(outbox, "b", lane=well)
        assert names(await post.wait_for(2)) == ["a", "b"]
        await outbox.flush()
        await asyncio.to_thread(mark_lane, tmp_path, LaneMarks.drop)
        put(outbox, "c")
        outbox.tick(None)
        async with asyncio.timeout(TIMEOUT_S):
            while outbox.waiting != 2:
                await outbox.flush()
        await asyncio.to_thread(mark_lane, tmp_path, LaneMarks.release)
        outbox.tick(None)
        assert names(await post.wait_for(3)) == ["a", "b", "c"]


def mark_lane(directory: Path, mark: Callable[[LaneMarks, Sequence[LaneState]], int]) -> None:
    with open_inspection(directory, mode="rw") as inspection:
        assert mark(inspection.lane_marks, inspection.lane_marks.find(*LANE)) == 1


async def test_places_are_of_one_workflow(tmp_path: Path, post: Post) -> None:
    """One whose batches never end takes none of another's places, in the next process either."""
    well = Lane("well", "1")
    async with working(open_store(tmp_path), post, max_in_flight=2) as outbox:
        for number in range(5):
            put(outbox, f"e{number}", lane=Lane("sick", str(number)))
        await post.wait_for(2)
        put(outbox, "a", lane=well)
        assert names(await post.wait_for(3)) == ["e0", "e1", "a"]
        await outbox.flush()
    again = Post()
    async with working(open_store(tmp_path), again, max_in_flight=2) as outbox:
        put(outbox, "b", lane=well)
        (ended,) = [batch for batch in await again.wait_for(3) if batch.lane == well]
        outbox.put(Delivered(ended, "arn", 1))
        assert names(await again.wait_for(4)) == ["e0", "e1", "a", "b"]
        await outbox.flush()


async def test_followed_batches_take_no_place(tmp_path: Path, post: Post) -> None:
    """One gives its place back when it is accepted, and once only; the next process counts the same."""

    def accepted(batch: Batch) -> Batch:
        return dataclasses.replace(batch, body=b"", accepted=Acceptance("arn", 1, 0))

    async with working(open_store(tmp_path), post, max_in_flight=1) as outbox:
        for number in range(4):
            put(outbox, f"e{number}", lane=Lane("notify", str(number)))
        (first,) = await post.wait_for(1)
        outbox.put(Accepted(accepted(first)))
        second = (await post.wait_for(2))[1]
        outbox.put(Delivered(accepted(first), "arn", 1))
        await outbox.flush()
        assert names(post.batches) == ["e0", "e1"]
        outbox.put(Accepted(accepted(second)))
        await post.wait_for(3)
        await outbox.flush()
        assert names(post.batches) == ["e0", "e1", "e2"]
    again = Post()
    async with working(open_store(tmp_path), again, max_in_flight=2):
        assert sorted(names(await again.wait_for(3))) == ["e1", "e2", "e3"]


async def test_housekeeping_goes_on_by_itself(tmp_path: Path, post: Post) -> None:
    """One tick begins it, and it goes on until nothing is left to do."""
    store = open_store(tmp_path, event_age_ms=1000)
    old = [OutgoingEvent(LANE, "default", f"e{n}", "1") for n in range(2500)]
    store.apply(Work(events=old), slots=0, now_ms=1)
    async with working(store, post, max_in_flight=0) as outbox:
        outbox.tick(None)
        async with asyncio.timeout(TIMEOUT_S):
            while outbox.waiting:
                await outbox.flush()
    assert post.batches == []


async def test_drain_begins_nothing(tmp_path: Path, post: Post) -> None:
    """Everything is kept."""
    async with working(open_store(tmp_path), post) as outbox:
        put(outbox, "a")
        (batch,) = await post.wait_for(1)
        outbox.drain()
        put(outbox, "b", "c")
        outbox.put(Delivered(batch, "arn", 1))
        await outbox.flush()
        assert outbox.waiting == 2
        assert names(post.batches) == ["a"]
    later = Post()
    async with working(open_store(tmp_path), later):
        assert names(await later.wait_for(1)) == ["b c"]


async def test_unsettled_batch_is_resent(tmp_path: Path, post: Post) -> None:
    """As after a crash anywhere between its commit and its settlement; the lane's rest waits behind it."""
    async with working(open_store(tmp_path), post) as outbox:
        put(outbox, "a")
        await post.wait_for(1)
        put(outbox, "b")
    later = Post()
    async with working(open_store(tmp_path), later, max_in_flight=1) as outbox:
        await later.wait_for(1)
        assert later.batches == post.batches
        outbox.put(Delivered(later.batches[0], "arn", 1))
        assert names(await later.wait_for(2)) == ["a", "b"]


async def test_begun_batch_survives_restart(tmp_path: Path) -> None:
    """The commit is on disk, and the process dies before anybody is told."""
    store = open_store(tmp_path)
    (begun,) = store.apply(Work(events=[OutgoingEvent(LANE, "default", "a", '"a"')]), slots=1, now_ms=0)
    store.close()
    post = Post()
    async with working(open_store(tmp_path), post):
        assert await post.wait_for(1) == [begun]


async def test_disk_failure_costs_only_time(
    tmp_path: Path, post: Post, disk_of: Callable[[Store], Disk]
) -> None:
    store = open_store(tmp_path)
    disk = disk_of(store)
    async with working(store, post) as outbox:
        await outbox.flush()
        disk.failures = 5
        put(outbox, "a")
        disk.tried.clear()
        await disk.tried.wait()
        put(outbox, "b")
        first = list(await post.wait_for(1))
        outbox.put(Delivered(first[0], "arn", 1))
        await outbox.flush()
        assert disk.failures == 0
        assert outbox.failing is None
        seen = await post.wait_for(1 if "b" in first[0].event_ids else 2)
        assert [name for batch in seen for name in batch.event_ids] == ["a", "b"]


async def test_exposes_disk_failure_reason(
    tmp_path: Path, post: Post, disk_of: Callable[[Store], Disk]
) -> None:
    store = open_store(tmp_path)
    disk = disk_of(store)
    async with working(store, post) as outbox:
        await outbox.flush()
        disk.failures = 10**9
        put(outbox, "a")
        await until(lambda: outbox.failing is not None, disk.tried)
        assert "disk I/O error" in (outbox.failing or "")
        assert post.batches == []


async def test_close_skips_failing_disk(tmp_path: Path, post: Post, disk_of: Callable[[Store], Disk]) -> None:
    store = open_store(tmp_path)
    disk = disk_of(store)
    async with asyncio.timeout(TIMEOUT_S), working(store, post) as outbox:
        put(outbox, "a")
        await post.wait_for(1)
        disk.failures = 10**9
        put(outbox, "b")
    assert guild_name(tmp_path) == "a"


@pytest.mark.parametrize("failures", [1, 10**9])
async def test_close_writes_all_or_nothing(
    tmp_path: Path, post: Post, disk_of: Callable[[Store], Disk], failures: int
) -> None:
    """Else the next process would find the later state, no difference to it, and a hole before it."""
    store = open_store(tmp_path)
    disk = disk_of(store)
    async with working(store, post) as outbox:
        put(outbox, "a")
        (batch,) = await post.wait_for(1)
        await outbox.flush()
        disk.ready.clear()
        disk.tried.clear()
        put(outbox, "b")
        await disk.tried.wait()
        # Waits for the next transaction, while the one before is being written, to no avail.
        put(outbox, "c")
        outbox.tick(Watched(1, {0: 1_763_708_400_000}))
        outbox.put(Delivered(batch, "arn", 1))
        disk.failures = failures
        closing = asyncio.create_task(outbox.close())
        await asyncio.sleep(0)
        disk.ready.set()
        await closing
    assert guild_name(tmp_path) == ("c" if failures == 1 else "a")
    later = Post()
    async with working(open_store(tmp_path), later) as outbox:
        assert names(await later.wait_for(1)) == ["b c" if failures == 1 else "a"]


async def test_waits_for_disk_at_start(tmp_path: Path, post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path)
    real, failures = store.open_batches, iter(range(3))

    def fail() -> list[Batch]:
        if next(failures, None) is not None:
            raise StoreError("disk I/O error")
        return real()

    monkeypatch.setattr(store, "open_batches", fail)
    async with working(store, post) as outbox:
        put(outbox, "a")
        assert names(await post.wait_for(1)) == ["a"]
        await outbox.flush()
        assert outbox.failing is None


async def test_closes_despite_failing_start(
    tmp_path: Path, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)

    def fail() -> list[Batch]:
        raise StoreError("disk I/O error")

    monkeypatch.setattr(store, "open_batches", fail)
    async with asyncio.timeout(TIMEOUT_S), working(store, post) as outbox:
        put(outbox, "a")
    assert post.batches == []


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let receipts wait for so long that a test would notice."""
    for module in ("service", "writer"):
        monkeypatch.setattr(f"bot.outbox.{module}.RECEIPT_WAIT_S", 10 * TIMEOUT_S)


@pytest.mark.usefixtures("patient")
async def test_receipt_waits_for_next_frame(
    tmp_path: Path, post: Post, disk_of: Callable[[Store], Disk]
) -> None:
    """One transaction takes both to disk."""
    store = open_store(tmp_path)
    disk = disk_of(store)
    async with working(store, post) as outbox:
        put(outbox, "a")
        (first,) = await post.wait_for(1)
        outbox.put(Delivered(first, "arn", 1))
        await asyncio.sleep(0)
        put(outbox, "b")
        assert names(await post.wait_for(2)) == ["a", "b"]
        written = [(len(work.events), len(work.reports)) for work in disk.works if work != Work()]
        assert written == [(1, 0), (1, 1)]


@pytest.mark.usefixtures("patient")
async def test_receipt_leaves_idle_thread_asleep(
    tmp_path: Path, post: Post, disk_of: Callable[[Store], Disk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame that comes meanwhile must not find it awake for nothing."""
    monkeypatch.setattr("bot.outbox.writer.RECEIPT_WAIT_S", 0)
    store = open_store(tmp_path)
    disk = disk_of(store)
    async with working(store, post) as outbox:
        put(outbox, "a")
        (first,) = await post.wait_for(1)
        outbox.put(Delivered(first, "arn", 1))
        await asyncio.sleep(0)
        assert outbox.backlog == 0
        put(outbox, "b")
        assert names(await post.wait_for(2)) == ["a", "b"]
        written = [(len(work.events), len(work.reports)) for work in disk.works if work != Work()]
        assert written == [(1, 0), (1, 1)]


@pytest.mark.usefixtures("patient")
async def test_receipt_frees_waiting_lane_at_once(tmp_path: Path, post: Post) -> None:
    async with working(open_store(tmp_path), post) as outbox:
        put(outbox, "a", "b", "c", "d")
        (first,) = await post.wait_for(1)
        outbox.put(Delivered(first, "arn", 1))
        assert names(await post.wait_for(2)) == ["a b c", "d"]


@pytest.mark.usefixtures("patient")
async def test_receipt_frees_place_at_once(tmp_path: Path, post: Post) -> None:
    """With more lanes than places."""
    async with working(open_store(tmp_path), post, max_in_flight=1) as outbox:
        put(outbox, "a")
        put(outbox, "b", lane=Lane("notify", "2"))
        (first,) = await post.wait_for(1)
        outbox.put(Delivered(first, "arn", 1))
        assert names(await post.wait_for(2)) == ["a", "b"]


@pytest.mark.usefixtures("patient")
async def test_flush_takes_receipts_along(tmp_path: Path, post: Post) -> None:
    async with working(open_store(tmp_path), post) as outbox:
        put(outbox, "a")
        (first,) = await post.wait_for(1)
        outbox.put(Delivered(first, "arn", 1))
        async with asyncio.timeout(TIMEOUT_S):
            await outbox.flush()
        assert outbox.waiting == 0
