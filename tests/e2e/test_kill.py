"""``kill -9`` at any moment, and a new process: nothing is lost or doubled."""

import asyncio
import random
from pathlib import Path

import pytest

from infra.local.discord import StandIn
from tests.support.crowd import (
    EVERYTHING,
    Lives,
    add_guilds,
    check_told,
    first_channel,
    join_last,
    people_of,
    wander_all,
)
from tests.support.ledger import Ledger
from tests.support.relay_between import relay_between

GUILDS = 5
KILLS = 3
STEPS = 400
"""Of each guild in each wave; a process that is killed lives for one wave or a part of it."""


@pytest.mark.parametrize(("seed", "lives_on"), [(11, False), (12, False), (13, True), (14, True)])
async def test_kills_in_burst_lose_nothing(
    standin: StandIn, tmp_path: Path, seed: int, lives_on: bool
) -> None:
    """Where the session lives on, everything is told as it was seen, in one stretch.

    Where it does not, each life of the process tells an unbroken stretch; a gap and inferred events say what
    lies between.
    """
    print(f"seed {seed}")  # noqa: T201  # shown where the test fails
    dice, lives = random.Random(seed), Lives()
    guilds = add_guilds(standin, GUILDS)
    (tmp_path / "rules.toml").write_text(EVERYTHING)
    async with Ledger(latency_s=0.002, dice=random.Random(seed)) as api:
        for life in range(KILLS + 1):
            async with (
                lives.another(),
                relay_between(tmp_path, standin, api, connected=False, RULES_FILE="rules.toml") as relay,
            ):
                # Now and then people move before the relay is connected, and READY is when it is killed.
                early = 0 < life < KILLS and dice.random() < 0.4
                if not early:
                    await standin.wait_connected(20)
                wanted = api.event_count + dice.randrange(1, GUILDS * STEPS // 4)
                wave = asyncio.create_task(wander_all(guilds, STEPS, dice))
                if early:
                    await relay.wait_for_log("shard_resumed" if lives_on else "shard_ready")
                elif life < KILLS:
                    await api.wait_until(lambda wanted=wanted: api.event_count >= wanted)  # type: ignore[misc]
                if life < KILLS:
                    relay.kill()
                    assert await relay.wait() == -9
                    if not lives_on:
                        await standin.faults.expire_sessions()
                await wave
                if life == KILLS:
                    await join_last(guilds, api)
                    relay.terminate()
                    assert await relay.wait() == 0
        found = check_told(standin, api, lives, open_gaps=True)
    assert standin.counts["identified"] == (1 if lives_on else KILLS + 1)
    if lives_on:
        assert (found.seen, found.gaps) == (len(standin.sent), 0)
    else:
        assert found.reasons == {"restart"}


async def test_batch_goes_out_again_unchanged(standin: StandIn, tmp_path: Path) -> None:
    """Across a kill and a stop while the API is down, a batch keeps its name and its bytes."""
    (guild,) = add_guilds(standin, 1)
    first, second, *_ = people_of(guild)
    channel, lives = first_channel(guild), Lives()
    async with Ledger() as api:
        api.down = True
        for life in range(3):
            before = api.attempt_count
            async with (
                lives.another(),
                relay_between(tmp_path, standin, api) as relay,
            ):
                if life == 0:
                    await guild.join(first, channel)
                await api.wait_for_attempts(before + 1)
                if life == 1:
                    await guild.join(second, channel)
                    relay.terminate()
                    assert await relay.wait() == 0
                elif life == 2:
                    api.down = False
                    await api.wait_for_events(2)
            await standin.wait_disconnected(10)
        found = check_told(standin, api, lives)
    assert len(next(iter(api.attempts.values()))) >= 3
    assert (found.seen, found.gaps) == (2, 0)
