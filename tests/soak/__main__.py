"""The long version of the crash test, minutes on one machine, and a backlog of a million: ``make soak``."""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.soak.single_machine import soak_single_machine
from tests.support.admitting import crash_admissions
from tests.support.backlog import drain_both
from tests.support.crashing import crash_cold, crash_warm

_SHARE = 50
"""Kills in one audit, which compares all that was delivered with all that happened."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seed", type=int, help="repeats an earlier run's random moments")
    parser.add_argument("--cold", type=int, default=200, help="kills of the program as it is started")
    parser.add_argument("--warm", type=int, default=2000, help="kills of processes with their imports done")
    parser.add_argument("--admissions", type=int, default=50, help="kills amid visits to a waiting room")
    parser.add_argument("--backlog", type=int, default=1_000_000, help="events to drain")
    parser.add_argument(
        "--minutes", type=float, default=10, help="in single-machine mode, throttled by Discord"
    )
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if arguments.seed is None else arguments.seed
    _say(f"seed {seed}")
    try:
        asyncio.run(_soak(seed, arguments))
    except AssertionError as error:
        _say(f"FAILED: {error}\nRepeat it with: python -m tests.soak --seed {seed}")
        return 1
    _say("Nothing lost, nothing out of order, nothing invented.")
    return 0


async def _soak(seed: int, asked: argparse.Namespace) -> None:
    dice = random.Random(seed)
    await _crash("whole program", crash_cold, asked.cold, dice)
    await _crash("imports done", crash_warm, asked.warm, dice)
    if asked.admissions:
        with tempfile.TemporaryDirectory() as directory:
            _say(
                f"waiting room: {await crash_admissions(Path(directory), seed=seed, kills=asked.admissions)}"
            )
    if asked.minutes:
        await soak_single_machine(asked.minutes, seed, _say)
    if asked.backlog:
        with tempfile.TemporaryDirectory() as directory:
            few, many = await drain_both(Path(directory), 20, asked.backlog)
        _say(f"few:  {few}\nmany: {many}")
        assert many.first_s - few.first_s < 1, "the backlog does not begin to drain within a second"
        assert many.peak_rss_bytes < many.early_rss_bytes * 1.25, "memory grows with what is drained"


async def _crash(
    name: str, crash: Callable[..., Coroutine[Any, Any, Any]], kills: int, dice: random.Random
) -> None:
    for done in range(0, kills, _SHARE):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as directory:
            found = await crash(Path(directory), seed=dice.randrange(2**32), kills=min(_SHARE, kills - done))
        _say(f"{name}, {done + found.kills} of {kills} kills, {time.monotonic() - began:.0f} s: {found}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
