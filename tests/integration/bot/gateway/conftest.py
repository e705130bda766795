"""What the gateway's tests share."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import closing

import pytest

from infra.local.discord import Guild, StandIn
from tests.integration.bot.gateway.watcher import SHORT_S, TOKEN


@pytest.fixture
async def standin() -> AsyncIterator[StandIn]:
    async with StandIn(token=TOKEN) as standin:
        yield standin


@pytest.fixture
def guild(standin: StandIn) -> Guild:
    return standin.world.add_guild("Base")


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections while the test lasts: bound, but not listened on."""
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds pass before an IDENTIFY, and between attempts to connect."""
    monkeypatch.setattr("bot.gateway.session_starts.WINDOW_S", 0.0)
    monkeypatch.setattr("bot.gateway.shard.INVALIDATED_S", (0.0, SHORT_S))
    monkeypatch.setattr("bot.gateway.shard.REFUSED_S", SHORT_S)
    monkeypatch.setattr("bot.backoff.BASE_S", SHORT_S)
