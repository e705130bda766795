"""Killing the relay over and over while people walk about, and the audit at the end."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from infra.local.audit import Audit
from infra.local.discord import Guild, StandIn
from tests.support.crowd import EVERYTHING, Lives, add_guilds, check_told, join_last, wander_all
from tests.support.ledger import Ledger
from tests.support.output import TOKEN
from tests.support.process import start_relay
from tests.support.warm import warm_relay

_GUILDS = 4
_STEPS = 200
_BETWEEN = 20
_EXPIRED = 0.25
"""The share of kills after which Discord does not keep the session."""


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
    """``expired`` are the sessions that ended with a process: no other restart may leave a gap.

    ``repeats`` are attempts at executions that had been started already.
    """

    kills: int
    expired: int
    repeats: int
    audit: Audit

    def __str__(self) -> str:
        found = self.audit
        return (
            f"{found.sent} sent, {found.seen} seen, {found.missed} missed, {found.inferred} inferred, "
            f"{self.expired} sessions expired, {found.gaps} gaps, {self.repeats} requests repeated"
        )


async def crash_warm(directory: Path, *, seed: int, kills: int) -> Crashes:
    """``crash`` with processes that have their imports done."""
    async with warm_relay(directory) as relay:
        return await crash(
            directory,
            lambda settings: relay.start(settings=settings),
            seed=seed,
            kills=kills,
            start_s=0.15,
        )


async def crash_cold(directory: Path, *, seed: int, kills: int) -> Crashes:
    """``crash`` with processes that begin at the very beginning."""

    def start(settings: Mapping[str, str]) -> AbstractAsyncContextManager[Process]:
        api_url = settings["DISCORD_API_URL"]
        return start_relay(directory, discord_api_url=api_url, token=TOKEN, settings=settings)

    return await crash(directory, start, seed=seed, kills=kills, start_s=1.5)


async def crash(directory: Path, start: Start, *, seed: int, kills: int, start_s: float) -> Crashes:
    """Let *kills* processes die at random moments, and one live; AssertionError unless the audit is exact.

    The moments are drawn from three ranges: from the start of the process on, which takes about *start_s*,
    from its connection on, and by what has been delivered since.
    """
    dice = random.Random(seed)
    (directory / "rules.toml").write_text(EVERYTHING)
    lives = Lives()
    expired = 0
    async with (
        StandIn(token=TOKEN) as standin,
        Ledger(latency_s=0.001, dice=random.Random(seed)) as api,
    ):
        guilds = add_guilds(standin, _GUILDS)
        settings = build_settings(standin, api)
        async with lives.another():
            await _live_and_stop(start, settings, standin, guilds, api)
        for _ in range(kills):
            # Now and then the guilds come one by one, and the end comes between them.
            standin.faults.delay_guilds(0.03 if dice.random() < 0.15 else 0.0)
            async with lives.another(), start(settings) as life:
                await _live_and_die(life, standin, guilds, api, dice, start_s)
            if dice.random() < _EXPIRED:
                await standin.faults.expire_sessions()
                expired += 1
            await standin.wait_disconnected(10)
            await wander_all(guilds, dice.randrange(_BETWEEN), dice)
        standin.faults.delay_guilds(0.0)
        async with lives.another():
            await _live_and_stop(start, settings, standin, guilds, api)
        _check_outputs(directory)
        found = check_told(standin, api, lives)
        assert found.gaps <= expired * _GUILDS, f"{found.gaps} gaps, but {expired} sessions ended"
        return Crashes(kills, expired, api.attempt_count - len(api.executions), found)


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


async def _live_and_stop(
    start: Start, settings: Mapping[str, str], standin: StandIn, guilds: Sequence[Guild], api: Ledger
) -> None:
    async with start(settings) as life:
        await standin.wait_connected(20)
        await join_last(guilds, api)
        life.terminate()
        assert await life.wait() == 0


async def _live_and_die(
    life: Process,
    standin: StandIn,
    guilds: Sequence[Guild],
    api: Ledger,
    dice: random.Random,
    start_s: float,
) -> None:
    loop = asyncio.get_running_loop()
    kind = dice.random()
    if kind < 0.2:
        loop.call_later(dice.uniform(0, start_s), life.kill)
        await wander_all(guilds, dice.randrange(_BETWEEN), dice)
    else:
        await standin.wait_connected(20)
        if kind < 0.7:
            loop.call_later(dice.uniform(0, 0.15), life.kill)
            await wander_all(guilds, dice.randrange(_STEPS), dice)
        else:
            wanted = api.event_count + dice.randrange(1, _GUILDS * _STEPS // 4)
            walking = asyncio.create_task(wander_all(guilds, _STEPS, dice))
            await api.wait_until(lambda: api.event_count >= wanted)
            life.kill()
            await walking
    assert await life.wait() == -9


def _check_outputs(directory: Path) -> None:
    for output in directory.glob("std*.log"):
        assert "Traceback" not in output.read_text(errors="replace"), output
