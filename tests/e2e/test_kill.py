"""``kill -9`` at any moment, and a new process: nothing is lost, nothing comes twice."""

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
from tests.support.output import TOKEN, check_output
from tests.support.process import start_relay

GUILDS = 5
KILLS = 3
STEPS = 400
"""Of each guild in each wave; a process that is killed lives for one wave or a part of it."""


@pytest.mark.parametrize("seed", [11, 12, 13])
async def test_kills_in_burst_lose_nothing(standin: StandIn, tmp_path: Path, seed: int) -> None:
    """Each life of the process tells an unbroken stretch; a gap and inferred events say what lies between."""
    print(f"seed {seed}")  # noqa: T201  # shown where the test fails
    dice, lives = random.Random(seed), Lives()
    guilds = add_guilds(standin, GUILDS)
    (tmp_path / "rules.toml").write_text(EVERYTHING)
    async with Ledger(latency_s=0.002, dice=random.Random(seed)) as api:
        for life in range(KILLS + 1):
            async with (
                lives.another(),
                start_relay(
                    tmp_path,
                    discord_api_url=standin.api_url,
                    token=TOKEN,
                    api_endpoint=api.endpoint,
                    settings={"RULES_FILE": "rules.toml"},
                ) as relay,
            ):
                # Now and then people walk about while nobody is connected yet, and the end comes with READY.
                early = 0 < life < KILLS and dice.random() < 0.4
                if not early:
                    await standin.wait_connected(20)
                wanted = api.event_count + dice.randrange(1, GUILDS * STEPS // 4)
                wave = asyncio.create_task(wander_all(guilds, STEPS, dice))
                if early:
                    await relay.wait_for_log("shard_ready")
                elif life < KILLS:
                    await api.wait_until(lambda wanted=wanted: api.event_count >= wanted)  # type: ignore[misc]
                if life < KILLS:
                    relay.kill()
                    assert await relay.wait() == -9
                await wave
                if life == KILLS:
                    await join_last(guilds, api)
                    relay.terminate()
                    assert await relay.wait() == 0
            check_output(relay)
        found = check_told(standin, api, lives, open_gaps=True)
    assert found.reasons == {"restart"}


async def test_batch_goes_out_again_unchanged(standin: StandIn, tmp_path: Path) -> None:
    """Over a kill, an orderly stop and an API that is down all the while: one name, the same bytes."""
    (guild,) = add_guilds(standin, 1)
    first, second, *_ = people_of(guild)
    channel, lives = first_channel(guild), Lives()
    async with Ledger() as api:
        api.down = True
        for life in range(3):
            before = api.attempt_count
            async with (
                lives.another(),
                start_relay(
                    tmp_path, discord_api_url=standin.api_url, token=TOKEN, api_endpoint=api.endpoint
                ) as relay,
            ):
                await standin.wait_connected(20)
                if life == 0:
                    await guild.join(first, channel)
                await api.wait_for_attempts(before + 1)
                if life == 1:
                    await guild.join(second, channel)
                    relay.terminate()
                    assert await relay.wait() == 0
                elif life == 2:
                    api.down = False
                    await api.wait_for_events(4)
            await standin.wait_disconnected(10)
            check_output(relay)
        found = check_told(standin, api, lives, open_gaps=True)
    assert len(next(iter(api.attempts.values()))) >= 3
    # The second may have joined a moment too late to be seen.
    assert (found.seen + found.inferred, found.gaps) == (2, 2)
