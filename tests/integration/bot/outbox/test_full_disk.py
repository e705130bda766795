"""The outbox when the disk does not take what it is given."""

import asyncio
from pathlib import Path

import pytest

from bot.clock import format_ms
from bot.errors import StoreDamagedError, StoreError
from bot.outbox import writer
from bot.outbox.database import open_database
from bot.outbox.store import Limits, Store
from bot.outbox.work import Advanced
from bot.routing.rules import Rule, Rules
from bot.voice.occupancy import GuildOccupancy
from tests.support.flaky_outbox import GUILD, TIMEOUT_S, relaying, replay


async def test_short_disk_failure_loses_nothing(tmp_path: Path) -> None:
    async with relaying(tmp_path) as relay:
        relay.say(1, 5)
        await relay.wait(lambda: relay.kinds() == ["joined"])
        relay.store.error = StoreError("disk I/O error")
        relay.say(2, 5)
        relay.say(1, 6)
        await relay.wait(lambda: relay.outbox.failing is not None)
        assert relay.outbox.failing == "disk I/O error"
        relay.store.error = None
        await relay.wait(lambda: len(relay.delivered) == 3)
        await relay.wait(lambda: relay.outbox.failing is None)
    assert relay.kinds() == ["joined", "joined", "moved"]


async def test_long_disk_failure_is_declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What there was no room for becomes a gap."""
    monkeypatch.setattr(writer, "_HOLD_MAX", 10)
    async with relaying(tmp_path) as relay:
        for user in (1, 2, 3):
            relay.say(user, 5)
        await relay.wait(lambda: len(relay.delivered) == 3)
        relay.store.error = StoreError("disk I/O error")
        first_lost_ms = relay.now_ms
        relay.say(1, None)
        await relay.wait(lambda: relay.outbox.failing is not None)
        relay.now_ms += 60_000
        relay.say(2, 6)
        for _ in range(50):
            relay.say(3, 6)
            relay.say(3, 5)
        await relay.wait(lambda: relay.outbox.losing)
        relay.say(4, 5)
        relay.store.error = None
        await relay.wait(lambda: len(relay.delivered) == 7)
        relay.say(4, None)
        await relay.wait(lambda: len(relay.delivered) == 8)
    gap, *inferred = relay.delivered[3:7]
    assert gap["data"]["reason"] == "store_full"
    assert gap["data"]["from"] <= format_ms(first_lost_ms) < gap["data"]["until"]
    assert [(event["type"].rpartition(".")[2], event["data"]["user"]["id"]) for event in inferred] == [
        ("left", "1"),
        ("moved", "2"),
        ("joined", "4"),
    ]
    assert all(event["data"]["inferred"] for event in inferred)
    assert relay.delivered[7]["data"]["duration_s"] is not None


async def test_lost_frames_can_be_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session stays where the disk is, until the resync has made up for what was let go."""
    monkeypatch.setattr(writer, "_HOLD_MAX", 10)
    async with relaying(tmp_path) as relay:
        relay.say(1, 5)
        await relay.outbox.flush()
        relay.store.error = StoreError("disk I/O error")
        for n in range(50):
            relay.say(2, 5 if n % 2 else None)
        await relay.wait(lambda: relay.outbox.losing)
        relay.say(3, 5)
        relay.outbox.put(Advanced({0: relay.position}))
        relay.store.error = None
        await relay.wait(lambda: "gap" in relay.kinds())
        assert relay.store.load_positions() == {0: relay.position}
    moved = [work for work in relay.store.works if work.positions]
    assert [position.seq for work in moved for position in work.positions.values() if position] == [1, 52]
    assert moved[-1].events, "the differences are in the transaction that moves the session on"


async def test_full_file_is_declared_and_recovers(tmp_path: Path) -> None:
    limits = Limits(file_bytes=400_000)
    async with relaying(tmp_path, limits) as relay:
        await relay.fill()
        assert "OUTBOX_MAX_BYTES" in str(relay.outbox.failing)
        relay.say(100, 5)
        relay.accept_held()
        await relay.wait(lambda: "gap" in relay.kinds() and relay.outbox.failing is None)
        await relay.wait(lambda: relay.outbox.waiting == 0)
        relay.say(101, 5)
        await relay.wait(lambda: relay.delivered[-1]["data"].get("user", {}).get("id") == "101")
    assert replay(relay.delivered) == relay.places()
    assert relay.kinds().count("gap") == 1


async def test_disk_agrees_with_deliveries(tmp_path: Path) -> None:
    """Kill the process at the end of it all: the occupancy on disk is the sum of the events."""
    async with relaying(tmp_path) as relay:
        for n in range(300):
            relay.store.error = StoreError("disk I/O error") if n % 50 > 25 else None
            relay.say(n % 11, 5 + n % 3 if n % 4 else None)
            await asyncio.sleep(0)
        relay.store.error = None
        await relay.outbox.flush()
        await relay.wait(lambda: relay.outbox.waiting == 0)
        on_disk: dict[str, GuildOccupancy] = relay.store.load_occupancy()
    assert replay(relay.delivered) == {
        user: occupant.channel_id for user, occupant in on_disk[GUILD].occupants.items()
    }


async def test_held_events_survive_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One came before the trouble, one during it, one only looked in: each is told of once, or not."""
    monkeypatch.setattr(writer, "_HOLD_MAX", 10)
    async with relaying(tmp_path, rules=Rules([Rule(debounce_s=5.0)])) as relay:
        relay.say(1, 5)
        await relay.outbox.flush()
        relay.store.error = StoreError("disk I/O error")
        relay.say(2, 5)
        for n in range(50):
            relay.say(3, 5 if n % 2 else None)
        relay.say(3, None)
        await relay.wait(lambda: relay.outbox.losing)
        relay.now_ms += 5000
        relay.store.error = None
        await relay.wait(lambda: relay.outbox.failing is None)
        relay.now_ms += 5000
        relay.intake.release()
        await relay.outbox.flush()
        await relay.wait(lambda: relay.outbox.waiting == 0)
        assert relay.store.load_held() == {}
    told = [event["data"]["user"]["id"] for event in relay.delivered if "user" in event["data"]]
    assert sorted(told) == ["1", "2"]
    assert relay.kinds().count("joined") == 2


async def test_next_process_releases_held(tmp_path: Path) -> None:
    rules = Rules([Rule(debounce_s=5.0, batch_max_events=3)])
    async with relaying(tmp_path, rules=rules) as relay:
        relay.say(1, 5)
        relay.say(2, 5)
        relay.say(2, None)
        await relay.outbox.flush()
        on_disk = relay.store.load_held()
        assert [key.user_id for key in on_disk] == ["1"]
    assert relay.delivered == []
    store = Store(open_database(tmp_path), Limits())
    assert store.load_held() == on_disk
    assert store.load_occupancy()[GUILD].occupants.keys() == {"1"}
    store.close()


async def test_close_skips_failing_disk(tmp_path: Path) -> None:
    async with relaying(tmp_path) as relay:
        relay.store.error = StoreError("disk I/O error")
        relay.say(1, 5)
        async with asyncio.timeout(TIMEOUT_S):
            await relay.outbox.close()


async def test_damaged_file_ends_the_run(tmp_path: Path) -> None:
    async with relaying(tmp_path) as relay:
        relay.store.error = StoreDamagedError("damaged")
        relay.say(1, 5)
        with pytest.raises(StoreDamagedError, match="damaged"):
            async with asyncio.timeout(TIMEOUT_S):
                await relay.outbox.wait_broken()
