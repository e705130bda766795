"""Sources of AWS credentials that tests script."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from bot.api.credentials import ChainCredentials

WAIT_MAX_S = 10


class Container:
    """A container's credential endpoint that counts the requests."""

    def __init__(self) -> None:
        self.asked = 0
        self.lifetime_s = 3600.0
        self.status = 200
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.url = ""

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        await self.may_answer.wait()
        if self.status != 200:
            return web.json_response({"message": "a-private-detail"}, status=self.status)
        until = datetime.now(UTC) + timedelta(seconds=self.lifetime_s)
        return web.json_response(
            {
                "AccessKeyId": f"ASIA-{self.asked}",
                "SecretAccessKey": f"secret-{self.asked}",
                "Token": f"token-{self.asked}",
                "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )


def make_credentials(
    add_secret: Callable[[str], object] = lambda _: None, **options: Any
) -> ChainCredentials:
    return ChainCredentials(add_secret=add_secret, **options)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_MAX_S):
        while not condition():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.005)


def use_environment(monkeypatch: pytest.MonkeyPatch, number: int = 1) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"AKIA-{number}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"secret-{number}")
