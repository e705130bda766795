"""Files of settings that are endless, or keep their reader waiting: one problem that names the file."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.settings.aws import open_session
from bot.settings.sources import FILE_MAX_BYTES
from tests.support.settings import TOKEN, Machine


def _make_huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 36)


def _link_to_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


ENDLESS = [
    (os.mkfifo, "not a regular file"),
    (_link_to_zeros, "not a regular file"),
    (_make_huge, "more than"),
]


@pytest.mark.parametrize(
    "name", [".env", "secrets/voice_relay_discord_token", "secrets/aws_secret_access_key"]
)
@pytest.mark.parametrize(("make", "said"), ENDLESS)
def test_refuses_endless_file(
    machine: Machine,
    tmp_path: Path,
    make: Callable[[Path], None],
    said: str,
    name: str,
) -> None:
    make(tmp_path / name)
    (problem,) = machine.problems()
    assert problem.startswith(f"cannot read {tmp_path / name} ({said}")


@pytest.mark.parametrize(("make", "said"), ENDLESS)
def test_credentials_refuse_endless_file(
    machine: Machine, tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    """They are looked up again and again, long after the start."""
    make(tmp_path / ".env")
    with pytest.raises(OSError, match=said):
        open_session(tmp_path / ".env")


def test_takes_files_of_usual_size(machine: Machine) -> None:
    """A directory beside them does no harm, like those of mounted secrets."""
    machine.set(DISCORD_TOKEN=None)
    (machine.secrets / "..data").mkdir()
    (machine.secrets / "voice_relay_discord_token").write_text(TOKEN + "\n" * 1000)
    machine.env_file.write_text("#" * (FILE_MAX_BYTES - 100) + "\nVOICE_RELAY_LOG_LEVEL=debug\n")
    settings = machine.load()
    assert (settings.discord_token.get_secret_value(), settings.log_level) == (TOKEN, "debug")


def test_secret_that_is_not_text(machine: Machine) -> None:
    machine.set(DISCORD_TOKEN=None)
    (machine.secrets / "voice_relay_discord_token").write_bytes(b"\xff\xfesecret")
    (problem,) = machine.problems()
    assert problem.endswith("or a secret's file is not text in UTF-8: save it as UTF-8")
