"""The benchmark, small: that it measures what it says. How fast anything is, no test asks."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.bench.bots import BOTS
from tests.bench.measure import measure_latency, measure_memory, measure_sustained, percentile
from tests.bench.suite import MEASUREMENTS
from tests.bench.telling import read_telling
from tests.support.story import Story, run

ROOT = Path(__file__).parents[2]
MIB = 2**20


async def test_relay_tells_burst_exactly(tmp_path: Path) -> None:
    found = await measure_sustained(BOTS["relay"], tmp_path, transitions=2_000, guilds=5)

    telling = found.telling
    assert (telling.sent, telling.right, telling.guilds, telling.exact_guilds) == (2_000, 2_000, 5, 5)
    assert (telling.lost, telling.wrong, telling.doubled) == (0, 0, 0)
    assert found.per_s > 0
    assert found.cpu_per_transition_s > 0
    assert found.events_per_request > 1


async def test_plain_bot_is_the_contrast(tmp_path: Path) -> None:
    """It delivers, one event a request, and the account of what it told adds up."""
    found = await measure_sustained(BOTS["plain"], tmp_path, transitions=300, guilds=5)

    telling = found.telling
    assert telling.sent == 300
    assert telling.right + telling.wrong + telling.lost == 300
    assert telling.right > 0
    assert telling.doubled == 0
    assert found.events_per_request == 1


@pytest.mark.parametrize("bot", BOTS)
async def test_latency_covers_every_transition(bot: str, tmp_path: Path) -> None:
    found = await measure_latency(BOTS[bot], tmp_path, per_second=100, seconds=1, guilds=5)

    assert 0 < found.p50_s <= found.p99_s
    assert found.telling.sent >= 100
    assert found.telling.lost == 0


async def test_memory_is_the_bots(tmp_path: Path) -> None:
    few = await measure_memory(BOTS["relay"], tmp_path, guilds=1, transitions=50)
    many = await measure_memory(BOTS["relay"], tmp_path, guilds=200, transitions=50)

    assert 20 * MIB < few < many


async def test_command_writes_every_figure(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench", "--quick", "--only", "latency", "--json", "figures.json"]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()

    assert process.returncode == 0, errors.decode()
    assert "latency, median" in output.decode()
    figures = orjson.loads((tmp_path / "figures.json").read_bytes())
    assert list(figures["results"]) == ["latency"]
    assert set(figures["results"]) < set(MEASUREMENTS)
    assert figures["machine"]["commit_s"] > 0
    for bot in BOTS:
        summary = figures["results"]["latency"][bot]["summary"]
        assert 0 < summary["p50_s"] <= summary["p99_s"]
    assert not list((tmp_path / "build").iterdir())


def test_telling_names_what_went_wrong() -> None:
    story = Story()
    lobby, stage = story.guild.add_voice_channel("Lobby"), story.guild.add_voice_channel("Stage")
    nelly = story.guild.add_member("nelly")
    story.watch()
    run(story.guild.join(nelly, lobby))
    run(story.guild.move(nelly, stage))
    run(story.guild.leave(nelly))
    joined, moved, left = story.told
    wrong = {**moved, "data": {**moved["data"], "previous_channel": {"id": "999"}}}

    def read(*events: dict[str, Any]) -> tuple[int, int, int, int, int]:
        found = read_telling(story.sent, events)
        return found.right, found.lost, found.wrong, found.doubled, found.exact_guilds

    assert read(joined, moved, left) == (3, 0, 0, 0, 1)
    assert read(joined, left) == (2, 1, 0, 0, 0)
    assert read(joined, wrong, left) == (2, 0, 1, 0, 0)
    assert read(joined, moved, moved, left) == (3, 0, 0, 1, 0)
    assert read(moved, joined, left) == (3, 0, 0, 0, 0)


def test_telling_needs_only_plain_fields() -> None:
    """It says no flags, and takes those of somebody who joins for changes."""
    story = Story()
    nelly, lobby = story.guild.add_member("nelly"), story.guild.add_voice_channel("Lobby")
    story.watch()
    run(story.guild.join(nelly, lobby, self_mute=True))
    (joined,) = story.told
    data = {**joined["data"], "changes": {"self_mute": True}}
    del data["state"]
    assert read_telling(story.sent, [{**joined, "data": data}]).exact_guilds == 1


def test_percentile_was_measured() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1)) == (50, 99, 100)
    assert percentile([3.0], 0.5) == 3.0
