"""Text for people."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bot.text import escape, render_bytes, render_span

REPOSITORY = str(Path(__file__).parents[3])


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (-1, "less than a second"),
        (999, "less than a second"),
        (1000, "1 second"),
        (119_999, "1 minute"),
        (7_200_000, "2 hours"),
        (86_400_000, "1 day"),
    ],
)
def test_renders_span(ms: int, text: str) -> None:
    assert render_span(ms) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (1, "1 byte"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB")]
)
def test_renders_size(size: int, text: str) -> None:
    assert render_bytes(size) == text


def test_renders_local_time() -> None:
    code = "from bot.text import render_time; print(render_time(1_763_708_400_123))"
    environment = {**os.environ, "TZ": "Asia/Kathmandu", "PYTHONPATH": REPOSITORY}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout == "2025-11-21 12:45:00.123+05:45\n"


def test_escapes_unprintable_characters() -> None:
    assert escape("a\tb\U000e0041é") == "a\\tb\\udb40\\udc41é"
