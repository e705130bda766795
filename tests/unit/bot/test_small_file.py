"""A file that should be small is read only if it is."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.small_file import read_small


def test_reads_up_to_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)
    assert read_small(path, 10) == b"x" * 10
    with pytest.raises(OSError, match="more than 9 bytes") as caught:
        read_small(path, 9)
    assert caught.value.filename == str(path)


def _make_huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def _link_to_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, "not a regular file"),
        (_link_to_zeros, "not a regular file"),
        (_make_huge, "more than 100 bytes"),
        (Path.mkdir, "Is a directory|not a regular file"),
    ],
)
def test_refuses_endless_file(tmp_path: Path, make: Callable[[Path], None], said: str) -> None:
    """Without waiting for a writer of a pipe."""
    make(tmp_path / "file")
    with pytest.raises(OSError, match=said):
        read_small(tmp_path / "file", 100)
