"""The ends of the path: a stand-in for Discord, and an API to deliver to."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from infra.local.discord import StandIn
from tests.support.ingress import StubIngress
from tests.support.output import TOKEN


@pytest.fixture
async def standin() -> AsyncIterator[StandIn]:
    async with StandIn(token=TOKEN) as standin:
        yield standin


@pytest.fixture
async def api() -> AsyncIterator[StubIngress]:
    async with StubIngress() as api:
        yield api


@pytest.fixture(autouse=True)
def _no_process_is_left(tmp_path: Path) -> Iterator[None]:
    """Check that no process is left in the test's own directory, where all that it starts work."""
    yield
    proc = Path("/proc")
    if proc.is_dir():
        assert list(_processes_in(proc, tmp_path)) == []


def _processes_in(proc: Path, directory: Path) -> Iterator[str]:
    for entry in proc.iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                cwd = (entry / "cwd").readlink()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if cwd.is_relative_to(directory) and command:
                yield command
