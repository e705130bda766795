"""An operator for the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.aws import EmbeddedAws
from tests.integration.infra.operating import Operator, operating


@pytest.fixture
def operator(
    aws: EmbeddedAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Operator]:
    with operating(aws, tmp_path, monkeypatch, capsys) as operator:
        yield operator
