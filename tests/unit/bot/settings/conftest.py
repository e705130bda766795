"""A machine for the tests of this folder."""

from pathlib import Path

import pytest

from tests.support.settings import Machine


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)
