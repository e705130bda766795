"""An API that is down for more than a day, simulated in seconds: waiting only moves the clock."""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from aiohttp import web
from botocore.credentials import ReadOnlyCredentials

from bot.api.client import ApiClient
from bot.api.target import FixedCredentials, Target
from bot.delivery.dispatcher import Dispatcher
from bot.gateway.intake import Intake
from bot.outbox.database import open_database
from bot.outbox.service import MAX_IN_FLIGHT, Outbox
from bot.outbox.store import Limits, Store
from bot.routing.rules import DEFAULT_RULES
from bot.ulid import UlidFactory
from bot.voice.tracker import Tracker
from infra.local.audit import Event
from tests.support.ledger import Ledger
from tests.support.no_signal import no_signal

BEGIN_MS = 1_795_259_000_000
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
GUILDS = ("1", "2", "3")
BATCH = 25
KEY = ReadOnlyCredentials("AKIDEXAMPLE", "secret", None)


class Api(Ledger):
    """Counts concurrent requests while it is down, after the first ones, which discover that."""

    def __init__(self) -> None:
        super().__init__()
        self.most_at_once = self._here = 0

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._here += 1
        if self.down and self.attempt_count > 2 * len(GUILDS):
            self.most_at_once = max(self.most_at_once, self._here)
        # Let other requests arrive meanwhile.
        for _ in range(20):
            await asyncio.sleep(0)
        answer = await super()._handle(request)
        self._here -= 1
        return answer


class World:
    """The clock, the API's state and what happens: *plan* lists when who joins which guild, in order."""

    def __init__(self, api: Ledger, *, back_ms: int, plan: list[tuple[int, str, str]]) -> None:
        self.now_ms = BEGIN_MS
        self.api = api
        self.back_ms = back_ms
        self.plan = deque(plan)
        self.outbox: Outbox
        self.intake: Intake

    def clock(self) -> int:
        return self.now_ms

    async def sleep(self, delay_s: float) -> None:
        """Let *delay_s* pass, with all that is planned in it."""
        then_ms = self.now_ms + int(delay_s * 1000)
        while self.plan and self.plan[0][0] <= then_ms:
            at_ms, guild_id, user_id = self.plan.popleft()
            self.now_ms = max(self.now_ms, at_ms)
            self.join(guild_id, user_id)
            await self.outbox.flush()
        self.now_ms = max(self.now_ms, then_ms)
        self.api.down = BEGIN_MS < self.now_ms < self.back_ms
        await asyncio.sleep(0)

    def join(self, guild_id: str, user_id: str) -> None:
        self.intake.voice_state({"guild_id": guild_id, "user_id": user_id, "channel_id": "5"})

    async def wait_delivered(self) -> None:
        async with asyncio.timeout(60):
            while self.plan or self.outbox.waiting:
                await self.outbox.flush()


@asynccontextmanager
async def relaying(directory: Path, world: World) -> AsyncIterator[None]:
    store = Store(open_database(directory, synchronous="normal"), Limits(batch_events=BATCH))
    target = Target(world.api.endpoint, "us-east-1", FixedCredentials(KEY))
    api = ApiClient(target, max_connections=MAX_IN_FLIGHT)
    async with api, asyncio.TaskGroup() as tasks:
        world.outbox = outbox = Outbox(store, clock=world.clock)
        dispatcher = Dispatcher(api.start, outbox.put, tasks.create_task, signal=no_signal, sleep=world.sleep)
        world.intake = Intake(Tracker({}, UlidFactory()), DEFAULT_RULES, outbox.put, clock=world.clock)
        for guild_id in GUILDS:
            world.intake.guild_created({"id": guild_id, "name": "Base", "voice_states": []})
        outbox.start(deliver=dispatcher.deliver, resync=lambda *_: [], positions=dict)
        yield
        outbox.drain()
        await dispatcher.close(0)
        await outbox.close()


def plan_joins(*, hours: int, every_ms: int) -> list[tuple[int, str, str]]:
    """Plan a new person joining each guild every *every_ms*."""
    times = range(BEGIN_MS, BEGIN_MS + hours * HOUR_MS, every_ms)
    people = itertools.count(1000)
    return [(at_ms, guild_id, str(next(people))) for at_ms in times for guild_id in GUILDS]


@pytest.mark.parametrize(("hours", "expired_hours"), [(23, 0), (30, 6)])
async def test_long_outage_expires_old_events(tmp_path: Path, hours: int, expired_hours: int) -> None:
    """The events of the last day are delivered, in full batches and without a flood; older ones expire."""
    every_ms = 10 * MINUTE_MS
    plan = plan_joins(hours=hours, every_ms=every_ms)
    async with Api() as api:
        api.down = True
        back_ms = BEGIN_MS + hours * HOUR_MS + every_ms // 2
        world = World(api, back_ms=back_ms, plan=plan[len(GUILDS) :])
        async with relaying(tmp_path, world):
            for at_ms, guild_id, user_id in plan[: len(GUILDS)]:
                assert at_ms == BEGIN_MS
                world.join(guild_id, user_id)
            await world.wait_delivered()
        api.check()
    delivered = api.events()
    with closing(Store(open_database(tmp_path))) as store:
        dead = store._db.execute("SELECT body, reason FROM dead_letter ORDER BY letter_id").fetchall()
    per_guild = len(plan) // len(GUILDS)
    # Each lane's first event was in a batch before the API went down.
    expired = expired_hours * HOUR_MS // every_ms
    for guild_id in GUILDS:
        wanted = [user_id for _, guild, user_id in plan if guild == guild_id]
        assert users_of(delivered, guild_id) == [wanted[0], *wanted[1 + expired :]]
    assert len(dead) == expired * len(GUILDS)
    assert all(reason.startswith("expired") for _, reason in dead)
    full_batches = -(-(per_guild - 1 - expired) // BATCH)
    assert len(api.executions) == len(GUILDS) * (1 + full_batches)
    # One probe at a time, half a minute apart on average: no herd, and no busy waiting.
    assert hours * 60 < api.attempt_count < hours * 60 * 4
    assert api.most_at_once == 1


def users_of(delivered: Sequence[Event], guild_id: str) -> list[str]:
    return [event["data"]["user"]["id"] for event in delivered if event["data"]["guild"]["id"] == guild_id]
