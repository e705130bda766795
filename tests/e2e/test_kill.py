"""``kill -9`` at any moment, and a new process: nothing is lost, nothing comes twice."""

import asyncio
import itertools
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from infra.local.discord import Guild, StandIn
from tests.e2e.accounts import (
    EVERYTHING,
    PREFIX,
    Account,
    Event,
    add_guilds,
    read_account,
    replay,
    true_accounts,
    true_places,
    wander,
)
from tests.e2e.ledger import Ledger
from tests.e2e.output import TOKEN, check_output
from tests.support.process import start_relay

GUILDS = 5
KILLS = 3
STEPS = 400
"""Of each guild in each wave; a process that is killed lives for one wave or a part of it."""


@pytest.mark.parametrize("seed", [11, 12, 13])
async def test_a_kill_during_a_burst_loses_and_doubles_nothing(
    standin: StandIn, tmp_path: Path, seed: int
) -> None:
    """Each life of the process tells an unbroken stretch; a gap and inferred events say what lies between."""
    print(f"seed {seed}")  # noqa: T201  # shown where the test fails
    chance = random.Random(seed)
    guilds = add_guilds(standin, GUILDS)
    (tmp_path / "rules.toml").write_text(EVERYTHING)
    async with Ledger(latency_s=0.002, chance=random.Random(seed)) as api:
        for life in range(KILLS + 1):
            dice = [(guild, random.Random(chance.random())) for guild in guilds]
            async with start_relay(
                tmp_path,
                discord_api_url=standin.api_url,
                token=TOKEN,
                api_endpoint=api.endpoint,
                settings={"RULES_FILE": "rules.toml"},
            ) as relay:
                # Now and then people walk about while nobody is connected yet, and the end comes with READY.
                early = 0 < life < KILLS and chance.random() < 0.4
                if not early:
                    await standin.wait_connected(20)
                wanted = api.event_count + chance.randrange(1, GUILDS * STEPS // 4)
                wave = asyncio.gather(*(wander(guild, STEPS, each) for guild, each in dice))
                if early:
                    await relay.wait_for_log("shard_ready")
                elif life < KILLS:
                    await api.wait_until(lambda wanted=wanted: api.event_count >= wanted)  # type: ignore[misc]
                if life < KILLS:
                    relay.kill()
                    assert await relay.wait() == -9
                await wave
                if life == KILLS:
                    await _see_the_last(guilds, api)
                    relay.terminate()
                    assert await relay.wait() == 0
            check_output(relay)
        api.check()
        told = api.events()
    assert replay(told) == true_places(guilds)
    for guild in guilds:
        of_guild = [event for event in told if event["data"]["guild"]["id"] == guild.id]
        ids = [event["id"] for event in of_guild]
        assert ids == sorted(ids)
        _check_stretches(of_guild, true_accounts(standin.sent.of_guild(guild.id)))


async def _see_the_last(guilds: Sequence[Guild], api: Ledger) -> None:
    """Let somebody new join in each guild, and wait for it to be told: all before it has been then."""
    late = [guild.add_member("late") for guild in guilds]
    for guild, member in zip(guilds, late, strict=True):
        await guild.join(member, next(iter(guild.channels.values())))
    last = {f"users/{member.id}".encode() for member in late}
    await api.wait_until(lambda: all(any(one in body for body in api.executions.values()) for one in last))


def _check_stretches(told: Sequence[Event], truth: Sequence[Account]) -> None:
    """Between two gaps, what was seen is an unbroken stretch of the truth; at first, its beginning."""
    place = 0
    for number, stretch in itertools.groupby(told, key=_counter()):
        head, *rest = stretch
        gap = head["type"] == PREFIX + "gap"
        assert gap == (number > 0)
        if gap:
            assert head["data"]["reason"] == "restart"
            assert (head["data"]["from"] or "") <= head["data"]["until"]
        events = rest if gap else [head, *rest]
        seen = [read_account(event) for event in events if not event["data"]["inferred"]]
        inferred = list(itertools.takewhile(lambda event: event["data"]["inferred"], events))
        assert len(inferred) + len(seen) == len(events), "what is inferred comes right after its gap"
        assert gap or not inferred
        found = place if number == 0 else _find(seen, truth, place)
        assert list(truth[found : found + len(seen)]) == seen
        place = found + len(seen)
    assert place == len(truth)


def _counter() -> Callable[[Event], int]:
    """Number the stretches: each gap begins the next."""
    number = 0

    def of(event: Event) -> int:
        nonlocal number
        number += int(event["type"] == PREFIX + "gap")
        return number

    return of


def _find(part: Sequence[Account], whole: Sequence[Account], start: int) -> int:
    for place in range(start, len(whole) - len(part) + 1):
        if list(whole[place : place + len(part)]) == part:
            return place
    raise AssertionError(f"no stretch of what happened: {part[:3]} and {len(part) - 3} more")


async def test_a_batch_goes_out_again_as_it_was_when_the_api_comes_back(
    standin: StandIn, tmp_path: Path
) -> None:
    """Over a kill, an orderly stop and an API that is down all the while: one name, the same bytes."""
    (guild,) = add_guilds(standin, 1)
    first, second, *_ = [member for member in guild.members.values() if not member.user.bot]
    channel = next(iter(guild.channels.values()))
    async with Ledger() as api:
        api.down = True
        for life in range(3):
            before = api.attempt_count
            async with start_relay(
                tmp_path, discord_api_url=standin.api_url, token=TOKEN, api_endpoint=api.endpoint
            ) as relay:
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
        api.check()
        events = api.events()
    first_batch = next(iter(api.attempts.values()))
    assert len(first_batch) >= 3
    assert [event["type"].removeprefix(PREFIX) for event in events][:2] == ["joined", "gap"]
    assert replay(events) == true_places([guild])
