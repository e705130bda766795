"""What the gateway's tests share."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import closing

import discord
import pytest

from bot.gateway.client import use_api
from infra.local.discord import Guild, StandIn
from tests.integration.bot.gateway.watcher import TOKEN


@pytest.fixture(autouse=True)
def _api_as_before() -> Iterator[None]:
    before = discord.http.Route.BASE
    yield
    use_api(before)


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
