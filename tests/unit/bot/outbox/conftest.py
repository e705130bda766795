"""Stores, an outbox file and an inspection of it, for the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.outbox.inspection import Inspection, open_inspection
from bot.outbox.store import Store
from tests.support.outboxes import OutboxFile
from tests.support.stores import open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path, 3)
    yield store
    store.close()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[OutboxFile]:
    outbox = OutboxFile(tmp_path)
    yield outbox
    outbox.close()


@pytest.fixture
def inspection(outbox: OutboxFile) -> Iterator[Inspection]:
    with open_inspection(outbox.directory, mode="rw") as inspection:
        yield inspection
