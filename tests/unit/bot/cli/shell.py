"""``voice-relay``, as it is typed."""

import json
from typing import Any

import pytest

from bot.cli.main import main


class Shell:
    """Runs commands where the outbox is in ``./data``; ``out`` and ``err`` are what the last one printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def run(self, command: str) -> int:
        try:
            code = main(command.split())
        except SystemExit as end:
            code = int(end.code or 0)
        self.out, self.err = self._capsys.readouterr()
        return code

    def json(self, command: str, exit_code: int = 0) -> Any:
        assert self.run(f"{command} --json") == exit_code
        assert self.out.isascii()
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        return [line.split() for line in self.out.splitlines()]
