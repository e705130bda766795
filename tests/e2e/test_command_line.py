"""The command line itself: what can be asked of it without anything to talk to."""

import tomllib
from pathlib import Path

import pytest

from tests.support.process import start_child

VERSION = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("--version",), 0, VERSION),
        (("--help",), 0, "send-test"),
        (("run", "--help"), 0, "usage: voice-relay run"),
        (("send-test", "--help"), 0, "--channel-id"),
        ((), 2, "COMMAND"),
        (("dance",), 2, "invalid choice: 'dance'"),
        (("run", "--fast"), 2, "unrecognized arguments: --fast"),
        (("send-test",), 2, "VOICE_RELAY_DISCORD_TOKEN is not set"),
    ],
)
async def test_usage(tmp_path: Path, arguments: tuple[str, ...], exit_code: int, words: str) -> None:
    async with start_child(["-m", "bot.cli", *arguments], tmp_path, {}) as child:
        assert await child.wait() == exit_code
    assert words in (child.stderr if exit_code else child.stdout)
    assert "Traceback" not in child.stdout + child.stderr
