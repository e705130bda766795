"""Files of settings that every user of the machine can read."""

import logging
from pathlib import Path

import pytest
import structlog
from structlog.testing import LogCapture

import bot.cli.run
from bot.console import Console
from bot.settings import sources
from bot.settings.sources import find_exposed
from bot.telemetry.redaction import Redactor
from tests.support.settings import Machine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder open to others, with a readable file of settings and one of a secret."""
    tmp_path.chmod(0o755)
    (tmp_path / "secrets").mkdir(mode=0o755)
    for path in (tmp_path / ".env", tmp_path / "secrets" / "token"):
        path.write_text("")
        path.chmod(0o644)
    return tmp_path


def test_finds_readable_files(folder: Path) -> None:
    env_file, secrets = folder / ".env", folder / "secrets"
    assert find_exposed(env_file, secrets) == [env_file, secrets / "token"]


def test_accepts_private_files(folder: Path) -> None:
    (folder / ".env").chmod(0o600)
    (folder / "secrets" / "token").chmod(0o600)
    assert find_exposed(folder / ".env", folder / "secrets") == []


def test_accepts_closed_directory(folder: Path) -> None:
    (folder / "secrets").chmod(0o700)
    assert find_exposed(folder / "missing", folder / "secrets") == []


def test_finds_readable_connections(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, though the file may be in the directory of secrets; and not where an orchestrator mounts it."""
    secrets = folder / "secrets"
    (folder / ".env").chmod(0o600)
    (folder / "connections.toml").touch(mode=0o644)
    assert find_exposed(folder / ".env", None, folder / "connections.toml") == [folder / "connections.toml"]
    assert find_exposed(folder / ".env", secrets, secrets / "token") == [secrets / "token"]
    monkeypatch.setattr(sources, "_SECRETS_DIR", secrets)
    assert find_exposed(folder / ".env", secrets, secrets / "token") == []


def test_run_warns_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log says which file was read, and that others can read it; the relay itself does not start here."""
    machine = Machine(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    machine.env_file.write_text(f"VOICE_RELAY_DATA_DIR={tmp_path}/data\n")
    machine.env_file.chmod(0o644)
    monkeypatch.setattr(bot.cli.run, "configure_logging", lambda *_: Redactor())
    monkeypatch.setattr(bot.cli.run, "run_async", lambda relay: relay.close())
    capture = LogCapture()
    logger = structlog.wrap_logger(None, [capture], structlog.make_filtering_bound_logger(logging.INFO))
    monkeypatch.setattr(structlog, "get_logger", lambda *_: logger)
    assert bot.cli.run.run(bot.cli.run.Options(), Console.of_process()) == 0
    lines = capture.entries
    assert [line["event"] for line in lines] == ["settings_read", "secrets_exposed"]
    assert lines[0]["env_file"] == str(machine.env_file)
    assert lines[1]["files"] == [str(machine.env_file)]
