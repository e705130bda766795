"""A backlog as an outage leaves it, and how the relay drains it."""

import itertools
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import orjson
from aiohttp import web

from bot.clock import format_ms
from bot.outbox.database import open_database
from bot.outbox.store import Store
from bot.ulid import UlidFactory
from infra.local.discord import StandIn
from tests.support.ingress import StubIngress
from tests.support.process import start_relay

LANES = 20
_ROOM_S = 600.0


@dataclass(frozen=True, slots=True)
class Drained:
    """``first_s`` and ``all_s`` are from the start of the process to the first and the last request.

    ``early_rss_bytes`` is its memory when a tenth was delivered, ``peak_rss_bytes`` the most it ever had.
    """

    events: int
    first_s: float
    all_s: float
    early_rss_bytes: int
    peak_rss_bytes: int
    file_bytes: int

    def __str__(self) -> str:
        mib, per_s = 2**20, self.events / (self.all_s - self.first_s)
        return (
            f"{self.events:,} events, {self.file_bytes / mib:.0f} MiB: first request after "
            f"{self.first_s:.2f} s, all after {self.all_s:.1f} s ({per_s:,.0f}/s), memory "
            f"{self.early_rss_bytes / mib:.1f} MiB after a tenth, {self.peak_rss_bytes / mib:.1f} MiB at most"
        )


class OrderedIngress(StubIngress):
    """Checks that each lane's events arrive in order and once; keeps none, because there may be a million."""

    def __init__(self) -> None:
        super().__init__()
        self.first_at: float | None = None
        self.out_of_order: list[str] = []
        self._last: dict[str, str] = {}
        self._names: set[str] = set()

    def accept(self, name: str, body: bytes) -> web.Response:
        self.first_at = self.first_at or time.perf_counter()
        if name in self._names:
            self.repeats += 1
        else:
            self._names.add(name)
            events = orjson.loads(body)["events"]
            lane = events[0]["data"]["guild"]["id"]
            ids = [self._last.get(lane, ""), *(event["id"] for event in events)]
            if not all(one < other for one, other in itertools.pairwise(ids)):
                self.out_of_order.append(name)
            self._last[lane] = ids[-1]
            self._events += len(events)
            self.changed.set()
        return web.Response(body=orjson.dumps({"executionArn": f"arn:{name}", "startDate": 1.7e9}))


def build_backlog(data_dir: Path, count: int) -> int:
    """Write *count* events in some lanes, as the relay would have; return the size of the file."""
    with closing(Store(open_database(data_dir, synchronous="normal"))) as store:
        db = store._db
        db.execute("BEGIN")
        lanes = [(lane_id, "archive", str(lane_id)) for lane_id in range(1, LANES + 1)]
        db.executemany("INSERT INTO lane (lane_id, workflow, guild_id) VALUES (?, ?, ?)", lanes)
        db.executemany(
            "INSERT INTO event (lane_id, event_id, destination, body, entered_ms) VALUES (?, ?, ?, ?, ?)",
            _rows(count),
        )
        db.execute("COMMIT")
        (pages,), (page_bytes,) = (
            db.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
        )
        return int(pages * page_bytes)


def _rows(count: int) -> Iterator[tuple[int, str, str, str, int]]:
    new_id, now_ms = UlidFactory(), time.time_ns() // 1_000_000
    for number in range(count):
        lane_id = number % LANES + 1
        event_id = new_id(now_ms)
        event = {
            "specversion": "1.0",
            "id": event_id,
            "source": f"/discord/guilds/{lane_id}",
            "type": "discord.voice.joined",
            "subject": "users/80351110224678912",
            "time": format_ms(now_ms),
            "data": {
                "guild": {"id": str(lane_id), "name": "Base"},
                "user": {"id": "80351110224678912", "name": "nelly", "display_name": "Nelly", "bot": False},
                "channel": {"id": "127121515262115840", "name": "General", "kind": "voice"},
                "previous_channel": None,
                "changes": {},
                "occupants": 3,
                "duration_s": None,
                "inferred": False,
                "state": dict.fromkeys(
                    ("self_mute", "self_deaf", "mute", "deaf", "self_stream", "self_video", "suppress"), False
                ),
            },
        }
        yield lane_id, event_id, "default", orjson.dumps(event).decode(), now_ms


async def drain(directory: Path, count: int) -> Drained:
    """Let a relay drain *count* events; AssertionError if any is lost, doubled or out of order."""
    file_bytes = build_backlog(directory / "data", count)
    async with StandIn() as standin, OrderedIngress() as api:
        began = time.perf_counter()
        async with start_relay(
            directory,
            discord_api_url=standin.api_url,
            api_endpoint=api.endpoint,
            settings={"LOG_LEVEL": "warning", "OPS_PORT": ""},
        ) as relay:
            await api.wait_for_events(max(1, count // 10), _ROOM_S)
            early = relay.usage().peak_rss_bytes
            await api.wait_for_events(count, _ROOM_S)
            ended = time.perf_counter()
            peak = relay.usage().peak_rss_bytes
            relay.terminate()
            assert await relay.wait() == 0
        assert (api.event_count, api.out_of_order) == (count, [])
        assert api.first_at is not None
    with closing(Store(open_database(directory / "data"))) as store:
        assert (store.waiting, store.count_dead_letters()) == (0, 0)
    return Drained(count, api.first_at - began, ended - began, early, peak, file_bytes)


async def drain_both(directory: Path, few: int, many: int) -> tuple[Drained, Drained]:
    """Drain a small backlog and a large one, each in a directory of its own."""
    found = []
    for count in (few, many):
        (directory / str(count)).mkdir()
        found.append(await drain(directory / str(count), count))
    return found[0], found[1]
