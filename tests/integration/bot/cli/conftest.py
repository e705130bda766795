"""A stack's API that answers about one execution as each test says."""

from collections.abc import AsyncIterator

import pytest

import bot.cli.execution
from tests.support.ingress import StubIngress


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bot.cli.execution, "backoff_s", lambda *_: 0.0)


@pytest.fixture
async def api() -> AsyncIterator[StubIngress]:
    async with StubIngress() as api:
        yield api
