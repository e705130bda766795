"""Asking the stand-in for Discord, or what is in its place, about a webhook."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from bot.api.webhook import Webhook, ask_webhook
from bot.errors import DeliveryError, Rejected, TemporaryFailure
from infra.local.discord import StandIn


@pytest.fixture
async def standin() -> AsyncIterator[StandIn]:
    async with StandIn() as standin:
        yield standin


async def test_finds_webhook_and_guild(standin: StandIn) -> None:
    guild = standin.world.add_guild("Base")
    hook = standin.add_webhook("voice", guild.add_text_channel("chat"))

    assert await ask_webhook(SecretStr(hook.url)) == Webhook(guild.id)
    assert hook.messages == []


async def test_deleted_webhook_is_rejected(standin: StandIn) -> None:
    hook = standin.add_webhook("voice")
    del standin.webhooks.by_id[hook.id]

    with pytest.raises(Rejected, match="does not exist") as refused:
        await ask_webhook(SecretStr(hook.url))

    assert hook.token not in repr(refused.value)


async def test_wrong_token_is_rejected(standin: StandIn) -> None:
    hook = standin.add_webhook("voice")

    with pytest.raises(Rejected, match="token"):
        await ask_webhook(SecretStr(hook.url[:-1]))


async def test_closed_port_is_temporary() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    with pytest.raises(TemporaryFailure, match=f"127.0.0.1:{port}: Connection refused") as failed:
        await ask_webhook(SecretStr(f"http://127.0.0.1:{port}/api/webhooks/1/t0ken"))

    assert "t0ken" not in str(failed.value)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"not HTTP at all\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/t0ken\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_strange_answer_is_temporary(answer: bytes) -> None:
    """A captive portal or a proxy answers in Discord's place; its words repeat no secret."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(DeliveryError) as failed:
            await ask_webhook(SecretStr(f"http://127.0.0.1:{port}/api/webhooks/1/t0ken"))

    assert isinstance(failed.value, TemporaryFailure)
    assert "t0ken" not in str(failed.value)
