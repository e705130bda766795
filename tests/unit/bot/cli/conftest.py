"""A shell in an empty directory, and an outbox there."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.settings.sources import PREFIX
from tests.support.outboxes import OutboxFile
from tests.unit.bot.cli.shell import Shell


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return Shell(capsys)


@pytest.fixture
def outbox(shell: Shell, tmp_path: Path) -> Iterator[OutboxFile]:
    outbox = OutboxFile(tmp_path / "data")
    yield outbox
    outbox.close()
