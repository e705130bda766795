"""How the demo names the program that runs it for real."""

import shutil
import sysconfig
from pathlib import Path

import pytest

from infra.local.demo.relay import name_command

SCRIPTS = sysconfig.get_path("scripts")


def test_command_on_path_is_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", SCRIPTS)
    assert name_command() == "voice-relay"


def test_command_off_path_is_its_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Relative where it is below the current directory, as in a checkout."""
    command = shutil.which("voice-relay", path=SCRIPTS)
    assert command is not None
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(Path(command).parents[2])
    assert name_command() == str(Path(*Path(command).parts[-3:]))
    monkeypatch.chdir(tmp_path)
    assert name_command() == command
