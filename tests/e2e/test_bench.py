"""The benchmark, small: that it measures what it says. How fast anything is, no test asks."""

import asyncio
import sys
from pathlib import Path

import orjson
import pytest

from infra.local.discord import Transition
from tests.bench.account import compare
from tests.bench.bots import BOTS
from tests.bench.measure import measure_latency, measure_memory, measure_sustained, percentile
from tests.bench.suite import MEASUREMENTS

ROOT = Path(__file__).parents[2]
MIB = 2**20


async def test_relay_tells_a_burst_exactly(tmp_path: Path) -> None:
    found = await measure_sustained(BOTS["relay"], tmp_path, transitions=2_000, guilds=5)

    account = found.account
    assert (account.sent, account.right, account.guilds, account.guilds_exact) == (2_000, 2_000, 5, 5)
    assert (account.lost, account.wrong, account.doubled) == (0, 0, 0)
    assert found.per_s > 0
    assert found.cpu_per_transition_s > 0
    assert found.events_per_request > 1


async def test_plain_bot_serves_as_the_contrast(tmp_path: Path) -> None:
    """It delivers, one event a request, and the account of what it told adds up."""
    found = await measure_sustained(BOTS["plain"], tmp_path, transitions=300, guilds=5)

    account = found.account
    assert account.sent == 300
    assert account.right + account.wrong + account.lost == 300
    assert account.right > 0
    assert account.doubled == 0
    assert found.events_per_request == 1


@pytest.mark.parametrize("bot", BOTS)
async def test_latency_covers_every_transition(bot: str, tmp_path: Path) -> None:
    found = await measure_latency(BOTS[bot], tmp_path, per_second=100, seconds=1, guilds=5)

    assert 0 < found.p50_s <= found.p99_s
    assert found.account.sent >= 100
    assert found.account.lost == 0


async def test_memory_is_that_of_the_bot(tmp_path: Path) -> None:
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


def transition(kind: str, user: str, channel: str | None, previous: str | None = None) -> Transition:
    return Transition(kind, "1", user, channel, previous, {}, "live", 0.0)  # type: ignore[arg-type]


def event(kind: str, user: str, channel: str | None, previous: str | None = None) -> dict[str, object]:
    return {
        "type": f"discord.voice.{kind}",
        "data": {
            "guild": {"id": "1"},
            "user": {"id": user},
            "channel": channel and {"id": channel},
            "previous_channel": previous and {"id": previous},
            "changes": {},
        },
    }


def test_account_tells_lost_from_wrong_from_doubled() -> None:
    sent = [
        transition("joined", "7", "a"),
        transition("moved", "7", "b", "a"),
        transition("left", "7", None, "b"),
    ]
    joined, moved, left = (
        event("joined", "7", "a"),
        event("moved", "7", "b", "a"),
        event("left", "7", None, "b"),
    )
    wrong = event("moved", "7", "c", "a")

    def account(*events: dict[str, object]) -> tuple[int, int, int, int, int]:
        found = compare(sent, events)
        return found.right, found.lost, found.wrong, found.doubled, found.guilds_exact

    assert account(joined, moved, left) == (3, 0, 0, 0, 1)
    assert account(joined, left) == (2, 1, 0, 0, 0)
    assert account(joined, wrong, left) == (2, 0, 1, 0, 0)
    assert account(joined, moved, moved, left) == (3, 0, 0, 1, 0)
    assert account(moved, joined, left) == (3, 0, 0, 0, 0)


def test_percentile_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1)) == (50, 99, 100)
    assert percentile([3.0], 0.5) == 3.0
