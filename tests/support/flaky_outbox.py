"""Tracker, rules, outbox and a file, for tests of what happens when the disk does not play along."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from bot.errors import StoreError
from bot.gateway.intake import Intake
from bot.outbox.batch import Batch, Delivered
from bot.outbox.database import open_database
from bot.outbox.service import Outbox, Resync
from bot.outbox.session import Position, Session
from bot.outbox.store import Limits, Store
from bot.outbox.work import Work
from bot.routing.rules import DEFAULT_RULES, Rules
from bot.ulid import UlidFactory
from bot.voice.occupancy import GuildOccupancy
from bot.voice.tracker import Tracker

GUILD = "41771983423143937"
TIMEOUT_S = 20


class FlakyStore(Store):
    """A real file that fails when told to."""

    error: StoreError | None = None
    read_error: StoreError | None = None
    reads_failed = 0
    works: list[Work]

    def apply(self, work: Work, **options: Any) -> list[Batch]:
        if self.error is not None:
            raise self.error
        batches = super().apply(work, **options)
        self.works.append(work)
        return batches

    def load_occupancy(self) -> dict[str, GuildOccupancy]:
        if self.read_error is not None:
            self.reads_failed += 1
            raise self.read_error
        return super().load_occupancy()


class Relay:
    """Tracker, rules, outbox and a file; deliveries are accepted at once, unless held."""

    def __init__(self, directory: Path, limits: Limits, rules: Rules = DEFAULT_RULES) -> None:
        self.now_ms = 1_763_708_400_000
        self.seq = 0
        self.store = FlakyStore(open_database(directory), limits)
        self.store.works = []
        self.delivered: list[dict[str, Any]] = []
        self.changed = asyncio.Event()
        self.accepting = True
        self.held: list[Batch] = []
        self.outbox = Outbox(self.store, retry_s=0.01, clock=lambda: self.now_ms)
        self.tracker = Tracker(self.store.load_occupancy(), UlidFactory())
        self.intake = Intake(self.tracker, rules, self.outbox.put, clock=lambda: self.now_ms)
        self.connected = True
        self.seen_ms = None
        self.intake.source = self

    @property
    def position(self) -> Position:
        return Position(Session(0, 1, "1", "s", "ws://x"), self.seq)

    def start(self, resync: Resync | None = None) -> None:
        self.outbox.start(
            deliver=self.deliver,
            resync=resync or self.intake.resync,
            positions=lambda: {0: self.position},
        )

    def say(self, user: int, channel: int | None, guild: str = GUILD) -> None:
        self.seq += 1
        state = {"guild_id": guild, "user_id": str(user), "channel_id": channel and str(channel)}
        self.intake.voice_state(state)

    def places(self, guild: str = GUILD) -> dict[str, str]:
        """Return who is where by the tracker."""
        occupants = self.tracker._guilds[guild].occupants
        return {user: occupant.channel_id for user, occupant in occupants.items()}

    def told(self, guild: str) -> list[dict[str, Any]]:
        return [event for event in self.delivered if event["data"]["guild"]["id"] == guild]

    async def fill(self, guild: str = GUILD) -> None:
        """Let people move while nothing is accepted, until the file is full."""
        self.accepting = False
        for n in itertools.count():
            self.say(n % 7, 5 + n % 2 if n % 3 else None, guild)
            if n % 100 == 0:
                await self.outbox.flush()
            if self.outbox.failing is not None:
                return

    def kinds(self) -> list[str]:
        return [event["type"].removeprefix("discord.voice.") for event in self.delivered]

    async def wait(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():
                self.changed.clear()
                await asyncio.wait([asyncio.create_task(self.changed.wait())], timeout=0.02)

    def accept_held(self) -> None:
        self.accepting = True
        self.deliver(self.held)

    def deliver(self, batches: Sequence[Batch]) -> None:
        if not self.accepting:
            self.held.extend(batches)
            return
        for batch in batches:
            self.delivered.extend(orjson.loads(batch.body)["events"])
            self.outbox.put(Delivered(batch, "arn", 1))
        self.changed.set()


@asynccontextmanager
async def relaying(
    directory: Path,
    limits: Limits | None = None,
    rules: Rules = DEFAULT_RULES,
    *,
    guilds: Sequence[str] = (GUILD,),
    resync: Callable[[Relay], Resync] | None = None,
) -> AsyncIterator[Relay]:
    """Run it with *guilds*, in which nobody is in voice; *resync* makes what stands before the intake's."""
    relay = Relay(directory, limits or Limits(), rules)
    relay.start(resync(relay) if resync else None)
    for guild in guilds:
        relay.intake.guild_created({"id": guild, "name": "Base", "voice_states": []})
    try:
        yield relay
    finally:
        await relay.outbox.close()


def replay(events: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return who is where according to *events* alone."""
    places: dict[str, str] = {}
    for event in events:
        data = event["data"]
        if "user" in data:
            places.pop(data["user"]["id"], None)
            if data["channel"]:
                places[data["user"]["id"]] = data["channel"]["id"]
    return places
