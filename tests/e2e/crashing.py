"""Killing the relay over and over while people walk about, and the account at the end."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from infra.local.discord import Guild, StandIn
from tests.e2e.accounts import EVERYTHING, add_guilds, wander
from tests.e2e.ledger import Ledger
from tests.e2e.output import TOKEN
from tests.e2e.reckoning import Found, Life, reckon
from tests.support.process import start_relay
from tests.support.warm import warm_relay

_GUILDS = 4
_STEPS = 200
_BETWEEN = 20


class Process(Protocol):
    """What ``tests.support`` makes of a running relay."""

    @property
    def exit_code(self) -> int | None: ...

    def kill(self) -> None: ...

    def terminate(self) -> None: ...

    async def wait(self) -> int: ...


Start = Callable[[Mapping[str, str]], AbstractAsyncContextManager[Process]]
"""Starts a relay with settings, by name."""


@dataclass(slots=True)
class Crashes:
    """``repeats`` are attempts at executions that had been started already."""

    kills: int
    repeats: int
    account: Found


async def crash_warm(directory: Path, *, seed: int, kills: int) -> Crashes:
    """``crash_and_reckon`` with processes that have their imports done."""
    async with warm_relay(directory) as relay:
        return await crash_and_reckon(
            directory,
            lambda settings: relay.start(settings=settings),
            seed=seed,
            kills=kills,
            start_s=0.15,
        )


async def crash_cold(directory: Path, *, seed: int, kills: int) -> Crashes:
    """``crash_and_reckon`` with processes that begin at the very beginning."""

    def start(settings: Mapping[str, str]) -> AbstractAsyncContextManager[Process]:
        api_url = settings["DISCORD_API_URL"]
        return start_relay(directory, discord_api_url=api_url, token=TOKEN, settings=settings)

    return await crash_and_reckon(directory, start, seed=seed, kills=kills, start_s=1.5)


async def crash_and_reckon(
    directory: Path, start: Start, *, seed: int, kills: int, start_s: float
) -> Crashes:
    """Let *kills* processes die at random moments, and one live; AssertionError unless the account is exact.

    The moments are drawn from three ranges: from the start of the process on, which takes about *start_s*,
    from its connection on, and by what has been delivered since.
    """
    chance = random.Random(seed)
    (directory / "rules.toml").write_text(EVERYTHING)
    lives: list[Life] = []
    async with (
        StandIn(token=TOKEN) as standin,
        Ledger(latency_s=0.001, chance=random.Random(seed)) as api,
    ):
        guilds = add_guilds(standin, _GUILDS)
        settings = build_settings(standin, api)
        async with _living(start, settings, lives) as life:
            await standin.wait_connected(20)
            await see_the_last(guilds, api)
            await _end(life)
        for _ in range(kills):
            # Now and then the guilds come one by one, and the end comes between them.
            standin.faults.delay_guilds(0.03 if chance.random() < 0.15 else 0.0)
            async with _living(start, settings, lives) as life:
                await _live_and_die(life, standin, guilds, api, chance, start_s)
            await standin.faults.expire_sessions()
            await standin.wait_disconnected(10)
            await _walk(guilds, chance, chance.randrange(_BETWEEN))
        standin.faults.delay_guilds(0.0)
        async with _living(start, settings, lives) as life:
            await standin.wait_connected(20)
            await see_the_last(guilds, api)
            await _end(life)
        _check_outputs(directory)
        api.check()
        told = api.events()
        found = Found()
        for guild in guilds:
            of_guild = [event for event in told if event["data"]["guild"]["id"] == guild.id]
            ids = [event["id"] for event in of_guild]
            assert ids == sorted(ids)
            found.add(reckon(of_guild, guild, standin.sent.of_guild(guild.id), lives))
        return Crashes(kills, api.attempt_count - len(api.executions), found)


def build_settings(standin: StandIn, api: Ledger) -> Mapping[str, str]:
    return {
        "DISCORD_TOKEN": TOKEN,
        "DISCORD_API_URL": standin.api_url,
        "API_ENDPOINT": api.endpoint,
        "DATA_DIR": "data",
        "RULES_FILE": "rules.toml",
        "OPS_PORT": "",
        "HEARTBEAT_S": "0",
        "LOG_FORMAT": "json",
    }


@asynccontextmanager
async def _living(start: Start, settings: Mapping[str, str], lives: list[Life]) -> AsyncIterator[Process]:
    began_ms = time.time_ns() // 1_000_000
    async with start(settings) as life:
        yield life
        assert life.exit_code is not None
    lives.append(Life(began_ms, time.time_ns() // 1_000_000))


async def _live_and_die(
    life: Process,
    standin: StandIn,
    guilds: Sequence[Guild],
    api: Ledger,
    chance: random.Random,
    start_s: float,
) -> None:
    loop = asyncio.get_running_loop()
    kind = chance.random()
    if kind < 0.2:
        loop.call_later(chance.uniform(0, start_s), life.kill)
        await _walk(guilds, chance, chance.randrange(_BETWEEN))
    else:
        await standin.wait_connected(20)
        if kind < 0.7:
            loop.call_later(chance.uniform(0, 0.15), life.kill)
            await _walk(guilds, chance, chance.randrange(_STEPS))
        else:
            wanted = api.event_count + chance.randrange(1, _GUILDS * _STEPS // 4)
            walking = asyncio.create_task(_walk(guilds, chance, _STEPS))
            await api.wait_until(lambda: api.event_count >= wanted)
            life.kill()
            await walking
    assert await life.wait() == -9


async def _walk(guilds: Sequence[Guild], chance: random.Random, steps: int) -> None:
    """Let the people of all *guilds* take so many *steps* each, side by side."""
    dice = [(guild, random.Random(chance.random())) for guild in guilds]
    await asyncio.gather(*(wander(guild, steps, each) for guild, each in dice))


async def see_the_last(guilds: Sequence[Guild], api: Ledger) -> None:
    """Let somebody new join in each guild, and wait for it to be told: all before it has been then."""
    late = [guild.add_member("late") for guild in guilds]
    for guild, member in zip(guilds, late, strict=True):
        await guild.join(member, next(iter(guild.channels.values())))
    last = {f"users/{member.id}".encode() for member in late}
    await api.wait_until(lambda: all(any(one in body for body in api.executions.values()) for one in last))


async def _end(life: Process) -> None:
    life.terminate()
    assert await life.wait() == 0


def _check_outputs(directory: Path) -> None:
    for output in directory.glob("std*.log"):
        assert "Traceback" not in output.read_text(errors="replace"), output
