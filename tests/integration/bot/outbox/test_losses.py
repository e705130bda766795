"""What is let go is written down first, for each guild by itself, and no restart forgets it."""

import asyncio
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bot.clock import format_ms
from bot.errors import StoreError
from bot.outbox import service, writer
from bot.outbox.batch import Batch
from bot.outbox.service import Resync
from bot.outbox.store import Limits
from bot.outbox.work import Advanced, Captured, Watched, Work
from bot.voice.occupancy import GuildOccupancy
from bot.voice.payloads import shard_of
from tests.support.flaky_outbox import GUILD, TIMEOUT_S, FlakyStore, Relay, relaying, replay

OTHER = "127121515262115840"
FULL = Limits(file_bytes=400_000)
HOUR_MS = 3600_000


def watch(relay: Relay) -> None:
    """Do what the relay does every few seconds."""
    relay.outbox.tick(Watched(1, {shard_of(GUILD, 1): relay.now_ms}))


async def test_resync_leaves_other_guilds_losses(tmp_path: Path) -> None:
    """While a guild's resync is computed, another loses something."""
    asked: list[set[str]] = []

    def disturbed(relay: Relay) -> Resync:
        def resync(on_disk: Mapping[str, GuildOccupancy | None]) -> Sequence[Captured]:
            if not asked:
                relay.say(50, 5, OTHER)
                relay.store.error = StoreError("disk I/O error")
                for n in range(30):
                    relay.say(51, 5 + n % 2, OTHER)
                relay.store.error = None
            asked.append(set(on_disk))
            return relay.intake.resync(on_disk)

        return resync

    async with relaying(tmp_path, FULL, guilds=(GUILD, OTHER), resync=disturbed) as relay:
        await relay.fill()
        relay.accept_held()
        await relay.wait(lambda: relay.outbox.failing is None and relay.outbox.waiting == 0)
        await relay.outbox.flush()
        await relay.wait(lambda: relay.outbox.waiting == 0)
    for guild in (GUILD, OTHER):
        assert replay(relay.told(guild)) == relay.places(guild)


async def test_many_guilds_recover_by_themselves(tmp_path: Path) -> None:
    """Three hundred, and full several times: nothing contradictory is told, and nothing wrong kept."""
    dice = random.Random(3)
    guilds = [str(10**17 + n) for n in range(300)]
    async with relaying(tmp_path, Limits(file_bytes=1_500_000), guilds=guilds) as relay:
        await relay.outbox.flush()
        for _ in range(4):
            relay.accepting = False
            while relay.outbox.failing is None:
                for guild in dice.sample(guilds, 100):
                    relay.say(dice.randrange(4), dice.choice([5, 6, None]), guild)
                await asyncio.sleep(0)
            relay.accept_held()
            relay.held.clear()
            while relay.outbox.failing is not None:
                for guild in dice.sample(guilds, 20):
                    relay.say(dice.randrange(4), dice.choice([5, 6, None]), guild)
                await asyncio.sleep(0.001)
        await relay.wait(lambda: relay.outbox.waiting == 0 and relay.outbox.failing is None)
        await relay.outbox.flush()
        on_disk = relay.store.load_occupancy()
    contradictions = [event for guild in guilds for event in contradictory(relay.told(guild))]
    assert contradictions == []
    for guild in guilds:
        assert replay(relay.told(guild)) == relay.places(guild)
        assert {user: o.channel_id for user, o in on_disk[guild].occupants.items()} == relay.places(guild)


def contradictory(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events that cannot follow those before them."""
    places: dict[str, str | None] = {}
    found = []
    for event in events:
        data = event["data"]
        if "user" not in data:
            continue
        before = data["previous_channel"] and data["previous_channel"]["id"]
        user, now = data["user"]["id"], data["channel"] and data["channel"]["id"]
        if not event["type"].endswith("updated"):
            if places.get(user) != before:
                found.append(event)
            places[user] = now
    return found


@pytest.mark.parametrize("limits", [[Limits()], [FULL, Limits()]], ids=["once", "twice"])
async def test_restart_keeps_beginning(tmp_path: Path, limits: Sequence[Limits]) -> None:
    """Two hours with a full file are a gap of two hours, and not of the seconds since the last tick."""
    async with relaying(tmp_path, FULL, guilds=(GUILD, OTHER)) as relay:
        await relay.outbox.flush()
        await relay.fill()
        first_lost_ms, ends_ms = relay.now_ms, []
        for limit in limits:
            relay.now_ms += 2 * HOUR_MS
            relay.say(1, 9)
            watch(relay)
            await relay.outbox.flush()
            await relay.outbox.close()
            ends_ms.append(relay.now_ms)
            # Were anything accepted between, the file might empty before the relay is closed.
            accepting = limit is limits[-1]
            relay = start_again(tmp_path, limit, relay.now_ms + 10_000, accepting=accepting)
            await relay.outbox.flush()
        await relay.wait(lambda: relay.outbox.waiting == 0)
        await relay.outbox.close()
    gaps = [event["data"] for event in relay.delivered if "from" in event["data"]]
    assert {gap["guild"]["id"]: (gap["from"], gap["reason"]) for gap in gaps} == {
        GUILD: (format_ms(first_lost_ms), "store_full"),
        OTHER: (format_ms(ends_ms[0]), "restart"),
    }
    assert len(gaps) == 2


def start_again(directory: Path, limits: Limits, now_ms: int, *, accepting: bool = True) -> Relay:
    """Return the relay of the next process, to which Discord has handed its snapshots."""
    relay = Relay(directory, limits)
    relay.accepting = accepting
    relay.now_ms = now_ms
    relay.intake.begin(lambda _: False, [])
    relay.start()
    for guild in (GUILD, OTHER):
        relay.intake.guild_created({"id": guild, "name": "Base", "voice_states": []})
    return relay


async def test_lost_session_is_not_resumed(tmp_path: Path) -> None:
    """A RESUME would bring no snapshot to end the gap, nor what another guild's events have passed."""
    async with relaying(tmp_path, FULL, guilds=(GUILD, OTHER)) as relay:
        await relay.outbox.flush()
        assert relay.store.load_positions() == {0: relay.position}
        await relay.fill()
        relay.outbox.put(Advanced({0: relay.position}))
        watch(relay)
        await relay.outbox.flush()
        assert relay.store.load_positions() == {}
        relay.accept_held()
        await relay.wait(lambda: relay.outbox.failing is None)
        assert relay.store.load_positions() == {0: relay.position}


async def test_store_error_before_resync_is_a_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was committed just before is not committed again."""
    answers = [StoreError("disk I/O error"), StoreError("disk I/O error")]
    has_room = FlakyStore.has_room

    def fail(self: FlakyStore) -> bool:
        if answers:
            raise answers.pop()
        return has_room(self)

    async with relaying(tmp_path, FULL) as relay:
        await relay.outbox.flush()
        await relay.fill()
        monkeypatch.setattr(FlakyStore, "has_room", fail)
        relay.accept_held()
        await relay.wait(lambda: "gap" in relay.kinds() and relay.outbox.failing is None)
    assert answers == []
    assert contradictory(relay.delivered) == []
    assert replay(relay.delivered) == relay.places()
    ids = [event["id"] for event in relay.delivered]
    assert len(ids) == len(set(ids))


async def test_store_error_in_resync_is_a_retry(tmp_path: Path) -> None:
    async with relaying(tmp_path, FULL) as relay:
        await relay.outbox.flush()
        await relay.fill()
        relay.store.read_error = StoreError("disk I/O error")
        relay.accept_held()
        await relay.wait(lambda: relay.store.reads_failed > 2)
        assert "disk I/O error" in str(relay.outbox.failing)
        relay.store.read_error = None
        await relay.wait(lambda: "gap" in relay.kinds() and relay.outbox.failing is None)
    assert replay(relay.delivered) == relay.places()


async def test_full_again_keeps_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to a resync finds the file full: the gap begins where it did."""
    has_room = FlakyStore.has_room
    monkeypatch.setattr(FlakyStore, "has_room", lambda _: True)
    async with relaying(tmp_path, FULL) as relay:
        await relay.outbox.flush()
        await relay.fill()
        first_lost_ms = relay.now_ms
        for _ in range(5):
            relay.now_ms += HOUR_MS
            relay.say(1, 9)
            watch(relay)
            await relay.outbox.flush()
        monkeypatch.setattr(FlakyStore, "has_room", has_room)
        relay.accept_held()
        await relay.wait(lambda: "gap" in relay.kinds() and relay.outbox.failing is None)
    (gap,) = [event for event in relay.delivered if "from" in event["data"]]
    assert gap["data"]["from"] == format_ms(first_lost_ms)
    assert replay(relay.delivered) == relay.places()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """A disk that hangs while the event is not set."""
    works = threading.Event()
    works.set()
    apply: Callable[..., list[Batch]] = FlakyStore.apply

    def wait(self: FlakyStore, work: Work, **options: Any) -> list[Batch]:
        assert works.wait(TIMEOUT_S)
        return apply(self, work, **options)

    monkeypatch.setattr(FlakyStore, "apply", wait)
    monkeypatch.setattr(service, "HUNG_S", 0.05)
    monkeypatch.setattr(service, "INBOX_HUNG_MAX", 50)
    monkeypatch.setattr(writer, "_HOLD_MAX", 100_000)
    return works


async def test_hung_disk_bounds_memory(tmp_path: Path, disk: threading.Event) -> None:
    """It is said, and what was let go is declared once the disk answers."""
    async with relaying(tmp_path) as relay:
        relay.say(1, 5)
        await relay.outbox.flush()
        disk.clear()
        relay.say(2, 5)
        await relay.wait(lambda: relay.outbox.failing is not None)
        assert "the disk has not answered for" in str(relay.outbox.failing)
        for n in range(2000):
            relay.now_ms += 10
            relay.say(3, 5 + n % 2)
            if n % 10 == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        held = relay.outbox._passed - relay.outbox._writer.taken  # type: ignore[union-attr]
        assert held <= 50 + 10 + 1
        assert relay.outbox.backlog <= held
        disk.set()
        await relay.wait(lambda: "gap" in relay.kinds() and relay.outbox.failing is None)
        relay.say(3, None)
        await relay.wait(lambda: relay.kinds()[-1] == "left")
    assert relay.kinds().count("gap") == 1
    assert contradictory(relay.delivered) == []
    assert replay(relay.delivered) == relay.places()


async def test_close_skips_hung_disk(tmp_path: Path, disk: threading.Event) -> None:
    async with relaying(tmp_path) as relay:
        await relay.outbox.flush()
        disk.clear()
        relay.say(1, 5)
        async with asyncio.timeout(TIMEOUT_S / 2):
            await relay.outbox.close()
        disk.set()
        await asyncio.to_thread(relay.outbox._thread.join)  # type: ignore[union-attr]
