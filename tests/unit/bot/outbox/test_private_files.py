"""The data directory's files: only their owner reads or locks them."""

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bot.errors import StoreError
from bot.outbox.database import FILE_NAME, LOCK_NAME, open_database


@pytest.fixture(autouse=True)
def _no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def modes(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


def test_creates_private_files(tmp_path: Path) -> None:
    """Whatever the umask, and also what SQLite puts beside the file."""
    with closing(open_database(tmp_path)):
        names = {FILE_NAME, LOCK_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"}
        assert modes(tmp_path) == dict.fromkeys(names, 0o600)


def test_makes_old_files_private(tmp_path: Path) -> None:
    with closing(open_database(tmp_path)):
        pass
    for path in tmp_path.iterdir():
        path.chmod(0o644)
    with closing(open_database(tmp_path)):
        assert set(modes(tmp_path).values()) == {0o600}


def test_begins_anew_in_private(tmp_path: Path) -> None:
    """A damaged file and its successor are private too."""
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 1000)
    with closing(open_database(tmp_path)) as database:
        assert database.lost_ms is not None
        assert set(modes(tmp_path).values()) == {0o600}


def test_does_not_follow_lock_link(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("kept")
    target.chmod(0o644)
    (tmp_path / LOCK_NAME).symlink_to(target)
    with pytest.raises(StoreError, match="cannot use the data directory"):
        open_database(tmp_path)
    assert (target.read_text(), stat.S_IMODE(target.stat().st_mode)) == ("kept", 0o644)
