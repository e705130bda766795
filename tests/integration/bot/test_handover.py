"""Guilds that move from one process to another, each with its own file, and nothing undeclared between."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from bot.clock import format_ms
from bot.gateway.intake import Intake
from bot.outbox.database import open_database
from bot.outbox.store import Store
from bot.outbox.work import Advanced, Captured, Released, Watched, Work
from bot.routing.rules import Rule, Rules
from bot.ulid import UlidFactory
from bot.voice.payloads import shard_of
from bot.voice.tracker import Tracker
from infra.local.discord import StandIn
from tests.support.ledger import Ledger
from tests.support.relaying import relaying

NOW_MS = 1_795_259_000_000
DAY_MS = 24 * 3600 * 1000
EVEN, ODD = "41771983423143936", "41771983427338240"
"""Guilds of shard 0 and of shard 1, of two."""
NELLY, ALEX = "80351110224678912", "80351110224678913"


class Process:
    """The front half of the relay on the file in a directory; it runs one shard of two, or everything."""

    def __init__(self, store: Store, now_ms: int, shard_id: int | None, debounce_s: float) -> None:
        self.now_ms = now_ms
        self.store = store
        self.work = Work()
        tracker = Tracker(store.load_occupancy(), UlidFactory())
        self.intake = Intake(
            tracker,
            Rules([Rule(debounce_s=debounce_s)]),
            self._put,
            held=store.load_held(),
            clock=lambda: self.now_ms,
        )
        covers = None if shard_id is None else lambda guild_id: shard_of(guild_id, 2) == shard_id
        self.intake.begin(lambda _: False, (), covers)

    def _put(self, item: Captured | Released | Advanced) -> None:
        if isinstance(item, Captured):
            self.work.capture(item)
        elif isinstance(item, Released):
            self.work.release(item.events)

    def snapshot(self, guild_id: str, *people: str, joined_ms: int = NOW_MS - 30 * DAY_MS) -> None:
        states = [{"user_id": one, "channel_id": "5", "session_id": "s"} for one in people]
        self.intake.guild_created(
            {"id": guild_id, "name": "Base", "voice_states": states, "joined_at": format_ms(joined_ms)}
        )

    def leave(self, guild_id: str, user_id: str) -> None:
        self.intake.voice_state({"guild_id": guild_id, "user_id": user_id, "channel_id": None})

    def commit(self, watched: Watched | None = None) -> list[dict[str, Any]]:
        """Write what is pending, and return the events that go out with it."""
        events = [orjson.loads(event.body) for event in (*self.work.released, *self.work.events)]
        self.work.watched = watched
        self.store.apply(self.work, slots=0, now_ms=self.now_ms)
        self.work = Work()
        return events


@contextmanager
def process(
    directory: Path, at_ms: int, *, shard_id: int | None = None, debounce_s: float = 0.0
) -> Iterator[Process]:
    """Run a process that ends as a crash does: only what was committed stays."""
    store = Store(open_database(directory))
    try:
        yield Process(store, NOW_MS + at_ms, shard_id, debounce_s)
    finally:
        store.close()


def watch_both(directory: Path, **options: Any) -> None:
    """Let one process watch both guilds, with a person in each, until 50 ms after the beginning."""
    with process(directory, 0, **options) as first:
        first.snapshot(EVEN, NELLY)
        first.snapshot(ODD, ALEX)
        first.commit(Watched(1, {0: NOW_MS + 50}, {0}))


def tell(event: dict[str, Any]) -> tuple[Any, ...]:
    data = event["data"]
    return event["type"].rpartition(".")[2], data["guild"]["id"], data["from"], data["until"], data["reason"]


def test_old_owner_says_until_when(tmp_path: Path) -> None:
    """Its rows go; what waits in the outbox stays, and goes out."""
    watch_both(tmp_path)
    with process(tmp_path, 9_000, shard_id=0) as old:
        (gap,) = old.commit()
        assert set(old.store.load_occupancy()) == {EVEN}
        assert old.store.waiting == 1
    assert tell(gap) == ("gap", ODD, format_ms(NOW_MS + 50), format_ms(NOW_MS + 9_000), "handed_over")
    with process(tmp_path, 10_000, shard_id=0) as again:
        assert again.commit() == [], "it is said once"


def test_new_owner_says_from_when(tmp_path: Path) -> None:
    """It knows nothing of what was before, and infers nothing."""
    with process(tmp_path, 0, shard_id=1) as new:
        new.now_ms += 3_000
        new.snapshot(ODD, ALEX)
        (gap,) = new.commit()
        new.leave(ODD, ALEX)
        (left,) = new.commit()
    assert tell(gap) == ("gap", ODD, None, format_ms(NOW_MS + 3_000), "handed_over")
    assert not left["data"]["inferred"]


def test_joined_guild_has_no_earlier_owner(tmp_path: Path) -> None:
    """The bot joins it while the process watches."""
    with process(tmp_path, 0, shard_id=1) as new:
        new.snapshot(ODD, ALEX, joined_ms=NOW_MS + 1_000)
        assert new.commit() == []


def test_keeps_its_own_guilds(tmp_path: Path) -> None:
    """They are the same people's: what happened meanwhile is inferred, as after any restart."""
    watch_both(tmp_path)
    with process(tmp_path, 9_000, shard_id=0) as old:
        old.commit()
        old.snapshot(EVEN)
        gap, left = old.commit()
    assert tell(gap) == ("gap", EVEN, format_ms(NOW_MS + 50), format_ms(NOW_MS + 9_000), "restart")
    assert left["data"]["inferred"]


def test_guild_comes_back_after_handover(tmp_path: Path) -> None:
    """The file has forgotten it, so a month of another's watching is neither inferred nor declared twice."""
    watch_both(tmp_path)
    with process(tmp_path, 9_000, shard_id=0) as old:
        old.commit()
    with process(tmp_path, 30 * DAY_MS) as back:
        back.snapshot(ODD, NELLY)
        (gap,) = back.commit()
    assert tell(gap) == ("gap", ODD, None, format_ms(NOW_MS + 30 * DAY_MS), "handed_over")


def test_stale_file_infers_nothing(tmp_path: Path) -> None:
    """A month ago it stopped while it had the guild; another process may have told of everything since."""
    watch_both(tmp_path)
    month_ms = 30 * DAY_MS
    for at_ms in (month_ms, month_ms + 1_000):
        # The first ends before the snapshot.
        with process(tmp_path, at_ms, shard_id=1) as back:
            back.commit()
            assert not back.store.load_occupancy()[ODD].occupants
    with process(tmp_path, month_ms + 2_000, shard_id=1) as back:
        back.snapshot(ODD, NELLY)
        (gap,) = back.commit()
        assert set(back.store.load_occupancy()[ODD].occupants) == {NELLY}
    until = format_ms(NOW_MS + month_ms + 2_000)
    assert tell(gap) == ("gap", ODD, format_ms(NOW_MS + 50), until, "handed_over")


def test_lone_process_infers_after_month(tmp_path: Path) -> None:
    """Without SHARD_IDS there is no other process, however long it was away."""
    watch_both(tmp_path)
    with process(tmp_path, 30 * DAY_MS) as back:
        back.commit()
        back.snapshot(ODD, NELLY)
        kinds = [event["type"].rpartition(".")[2] for event in back.commit()]
    assert kinds == ["gap", "left", "joined"]


def test_one_process_takes_all_back(tmp_path: Path) -> None:
    """It has a file of half the guilds, and SHARD_IDS no longer: the other half was another process's."""
    with process(tmp_path, 0, shard_id=0) as half:
        half.snapshot(EVEN)
        half.commit(Watched(2, {0: NOW_MS + 50}, {0}))
    with process(tmp_path, 9_000) as whole:
        whole.commit()
        whole.snapshot(ODD, ALEX)
        (gap,) = whole.commit()
        whole.snapshot("41771983431532544", NELLY, joined_ms=NOW_MS + 5_000)
        assert whole.commit() == [], "the bot joined it since"
    assert tell(gap) == ("gap", ODD, None, format_ms(NOW_MS + 9_000), "handed_over")


def test_new_file_learns_in_silence(tmp_path: Path) -> None:
    """The first start of all has nothing to say."""
    with process(tmp_path, 0) as first:
        first.snapshot(EVEN, NELLY)
        assert first.commit() == []


def test_held_event_is_let_go(tmp_path: Path) -> None:
    """Nobody will settle it here any more."""
    watch_both(tmp_path, debounce_s=60.0)
    with process(tmp_path, 1_000, debounce_s=60.0) as first:
        first.snapshot(ODD, ALEX)
        first.commit()
        first.leave(ODD, ALEX)
        assert first.commit() == []
    with process(tmp_path, 9_000, shard_id=0, debounce_s=60.0) as old:
        left, gap = old.commit()
        assert not old.store.load_held()
    assert left["type"] == "discord.voice.left"
    assert gap["type"] == "discord.voice.gap"


def test_forgets_when_others_watched(tmp_path: Path) -> None:
    """The rows of another number of shards, or of another's shards, are out of date."""
    watch_both(tmp_path)
    with process(tmp_path, 9_000, shard_id=0) as old:
        old.commit(Watched(2, {0: NOW_MS + 9_000}, {0}))
        rows = old.store._db.execute("SELECT shard_count, shard_id FROM watch").fetchall()
    assert rows == [(2, 0)]


async def run_shard(
    directory: Path, standin: StandIn, endpoint: str, shard_id: int, stop: asyncio.Event
) -> None:
    # The built-in rules do not tell of a short gap that hid nothing.
    rules = directory.with_suffix(".toml")
    rules.write_text("[[rule]]\n")
    async with relaying(directory, standin, endpoint, shard_ids=(shard_id,), shard_count=2, rules_file=rules):
        await stop.wait()


async def test_one_process_becomes_two(tmp_path: Path) -> None:
    """Whole relays: each guild has an end of the old watching and a beginning of the new one."""
    async with StandIn() as standin, Ledger() as api:
        guilds = [standin.world.add_guild(f"g{number}") for number in range(4)]
        channels = {guild.id: guild.add_voice_channel("General") for guild in guilds}
        async with relaying(tmp_path / "a", standin, api.endpoint):
            for guild in guilds:
                await guild.join(guild.add_member("before"), channels[guild.id])
            await api.wait_until(lambda: api.event_count == 4)
        standin.shards, stop = 2, asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for name in "ab":
                shard_id = "ab".index(name)
                tasks.create_task(run_shard(tmp_path / name, standin, api.endpoint, shard_id, stop))
            await api.wait_until(lambda: api.event_count == 4 + 2 + 4)
            for guild in guilds:
                await guild.join(guild.add_member("after"), channels[guild.id])
            await api.wait_until(lambda: api.event_count == 4 + 2 + 4 + 4)
            stop.set()
        told = {
            guild.id: [each for each in api.events() if each["data"]["guild"]["id"] == guild.id]
            for guild in guilds
        }
    for guild_id, events in told.items():
        kinds = [event["type"].rpartition(".")[2] for event in events]
        reasons = [event["data"]["reason"] for event in events if event["type"] == "discord.voice.gap"]
        if shard_of(guild_id, 2) == 0:
            assert kinds == ["joined", "gap", "joined"]
            assert reasons == ["restart"]
        else:
            assert sorted(kinds) == ["gap", "gap", "joined", "joined"]
            assert reasons == ["handed_over"] * 2
