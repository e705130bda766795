"""Disks that fail under the running relay, a full outbox, and a kill during a schema upgrade."""

import asyncio
import random
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from bot.outbox import service, writer
from bot.outbox.batch import Batch
from bot.outbox.database import FILE_NAME, open_database
from bot.outbox.store import Store
from bot.relay import Relay
from infra.local.discord import Guild, StandIn
from tests.support.crowd import EVERYTHING, Lives, add_guilds, check_told, join_last, wander_all
from tests.support.ledger import Ledger
from tests.support.relaying import relaying

GUILDS = 3
ROOT = Path(__file__).parents[3]
SCHEMA = ROOT / "bot" / "outbox" / "schema"


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.backoff.BASE_S", 0.002)
    monkeypatch.setattr("bot.backoff.CAP_S", 0.05)


@pytest.fixture
async def standin() -> AsyncIterator[StandIn]:
    async with StandIn() as standin:
        yield standin


@pytest.fixture
async def api() -> AsyncIterator[Ledger]:
    async with Ledger() as api:
        yield api


@pytest.fixture
def guilds(standin: StandIn) -> list[Guild]:
    return add_guilds(standin, GUILDS)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(EVERYTHING)
    return path


async def walk_until_not_ready(relay: Relay, guilds: Sequence[Guild], dice: random.Random) -> str:
    """Walk until the relay cannot commit, and return the reason that it reports."""
    while (reason := relay._outbox.failing) is None:
        await wander_all(guilds, 20, dice)
    assert reason in relay.not_ready()
    return reason


async def wait_ready(relay: Relay) -> None:
    async with asyncio.timeout(20):
        while relay.not_ready():
            await relay._outbox.flush()


def set_read_only(relay: Relay, *, on: bool) -> None:
    """Refuse writes, even to open files, as a file system does when it finds itself broken."""
    relay._outbox._store._db.execute(f"PRAGMA query_only = {int(on)}")


async def test_read_only_disk_loses_nothing(
    standin: StandIn, guilds: list[Guild], api: Ledger, tmp_path: Path, rules: Path
) -> None:
    dice, lives = random.Random(41), Lives()
    async with lives.another(), relaying(tmp_path, standin, api.endpoint, rules_file=rules) as relay:
        await join_last(guilds, api)
        for _ in range(3):
            set_read_only(relay, on=True)
            reason = await walk_until_not_ready(relay, guilds, dice)
            assert "readonly" in reason
            await wander_all(guilds, 30, dice)
            set_read_only(relay, on=False)
            await wander_all(guilds, 30, dice)
            await join_last(guilds, api)
        await wait_ready(relay)
    found = check_told(standin, api, lives)
    assert (found.missed, found.gaps) == (0, 0)


async def test_long_disk_failure_declares_gap(
    standin: StandIn,
    guilds: list[Guild],
    api: Ledger,
    tmp_path: Path,
    rules: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What memory cannot hold is dropped: after a gap, the net difference is inferred."""
    monkeypatch.setattr(writer, "_HOLD_MAX", 300)
    dice, lives = random.Random(42), Lives()
    async with lives.another(), relaying(tmp_path, standin, api.endpoint, rules_file=rules) as relay:
        await join_last(guilds, api)
        for _ in range(3):
            set_read_only(relay, on=True)
            while not relay._outbox.losing:
                await wander_all(guilds, 20, dice)
            await wander_all(guilds, 20, dice)
            set_read_only(relay, on=False)
            await wander_all(guilds, 20, dice)
            await join_last(guilds, api)
            await wait_ready(relay)
    found = check_told(standin, api, lives)
    assert (found.gaps, found.reasons) == (3 * GUILDS, {"store_full"})
    assert found.missed >= 300


async def test_full_outbox_declares_gap(
    standin: StandIn, guilds: list[Guild], api: Ledger, tmp_path: Path, rules: Path
) -> None:
    """The API is down until the outbox is full and longer; what is in the outbox is delivered in order."""
    dice, lives = random.Random(43), Lives()
    settings = {"rules_file": rules, "outbox_max_bytes": 1 << 20}
    async with lives.another(), relaying(tmp_path, standin, api.endpoint, **settings) as relay:
        await join_last(guilds, api)
        api.down = True
        reason = await walk_until_not_ready(relay, guilds, dice)
        assert "VOICE_RELAY_OUTBOX_MAX_BYTES" in reason
        await wander_all(guilds, 100, dice)
        size = (tmp_path / "data" / FILE_NAME).stat().st_size
        api.down = False
        # While the outbox drops events, only the net difference is reported, so a person must stay.
        await join_last(guilds, api)
        await wait_ready(relay)
        await wander_all(guilds, 20, dice)
        await join_last(guilds, api)
    found = check_told(standin, api, lives)
    assert found.reasons == {"store_full"}
    assert found.gaps >= GUILDS
    assert size < 2 << 20


async def test_hung_disk_is_not_ready(
    standin: StandIn,
    guilds: list[Guild],
    api: Ledger,
    tmp_path: Path,
    rules: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor does the heartbeat go on; what happened meanwhile is delivered once the disk answers."""
    monkeypatch.setattr(service, "HUNG_S", 0.1)
    works = threading.Event()
    works.set()
    apply = Store.apply

    def wait(store: Store, *work: Any, **options: Any) -> list[Batch]:
        assert works.wait(20)
        return apply(store, *work, **options)

    monkeypatch.setattr(Store, "apply", wait)
    dice, lives = random.Random(44), Lives()
    async with lives.another(), relaying(tmp_path, standin, api.endpoint, rules_file=rules) as relay:
        await join_last(guilds, api)
        works.clear()
        reason = await walk_until_not_ready(relay, guilds, dice)
        assert "the disk has not answered for" in reason
        assert relay._heartbeat._not_ready()
        works.set()
        await join_last(guilds, api)
        await wait_ready(relay)
    found = check_told(standin, api, lives)
    assert (found.missed, found.gaps) == (0, 0)


UPGRADE = """
CREATE TABLE upgraded (n INTEGER PRIMARY KEY, pad TEXT NOT NULL) STRICT;
INSERT INTO upgraded (pad)
WITH RECURSIVE counting (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counting WHERE n < 40000)
SELECT hex(randomblob(100)) FROM counting;
ALTER TABLE guild ADD COLUMN upgrades INTEGER NOT NULL DEFAULT 0;
UPDATE guild SET upgrades = upgrades + 1;
"""
OPEN = """
import sys; from pathlib import Path; from bot.outbox.database import open_database
open_database(Path(sys.argv[1]), schema=Path(sys.argv[2]))
"""


def test_killed_upgrade_is_done_once(tmp_path: Path) -> None:
    """Killed at various points, the upgrade is not done or done; the next start completes it, once."""
    seed = 44
    print(f"seed {seed}")  # noqa: T201  # shown if the test fails
    dice, killed_inside = random.Random(seed), 0
    schema = tmp_path / "schema"
    schema.mkdir()
    for file in SCHEMA.glob("*.sql"):
        (schema / file.name).write_bytes(file.read_bytes())
    versions = len(list(schema.iterdir()))
    (schema / "9999_upgrade.sql").write_text(UPGRADE)
    for number in range(8):
        data = tmp_path / f"data-{number}"
        with closing(Store(open_database(data))) as store:
            store._db.execute("INSERT INTO guild (guild_id, known) VALUES ('1', 1)")
        _kill_at_size(data, schema, dice.randrange(0, 8_000_000))
        with closing(sqlite3.connect(data / FILE_NAME)) as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            tables = db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'upgraded'").fetchone()[0]
            assert (version, tables) in ((versions, 0), (versions + 1, 1))
            killed_inside += version == versions
        for _ in range(2):
            with closing(open_database(data, schema=schema)) as database:
                rows = database.connection.execute("SELECT guild_id, known, upgrades FROM guild").fetchall()
                assert rows == [("1", 1, 1)]
                count = database.connection.execute("SELECT count(*) FROM upgraded").fetchone()
                assert count == (40_000,)
                assert database.lost_ms is None
    assert killed_inside >= 4


def _kill_at_size(data: Path, schema: Path, size_bytes: int) -> None:
    """Start a process that upgrades, and kill it once the write-ahead log has *size_bytes*."""
    wal = data / f"{FILE_NAME}-wal"
    with subprocess.Popen([sys.executable, "-c", OPEN, data, schema], cwd=ROOT) as process:
        until = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < until:
            # The log is gone once the process has ended by itself.
            with suppress(FileNotFoundError):
                if wal.stat().st_size > size_bytes:
                    process.kill()
        assert process.wait() in (0, -9)


def test_test_upgrade_sorts_last() -> None:
    assert all(re.match(r"0\d{3}_", file.name) for file in SCHEMA.glob("*.sql"))
