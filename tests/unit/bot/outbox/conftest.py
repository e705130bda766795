"""A store for the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.outbox.store import Store
from tests.support.stores import open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path, 3)
    yield store
    store.close()
