"""A shard of the bot without a connection, for tests that call it as discord.py does."""

from typing import Any

from bot.clock import Clock
from bot.gateway.intake import Intake
from bot.gateway.rest import Limits
from bot.gateway.session_starts import SessionStarts
from bot.gateway.shard import Shard
from bot.outbox.session import Position
from bot.routing.rules import DEFAULT_RULES
from bot.ulid import UlidFactory
from bot.voice.tracker import Tracker


def make_shard(
    position: Position | None = None, *, intake: Intake | None = None, clock: Clock = lambda: 0
) -> Shard:
    async def ask() -> Limits:
        raise AssertionError("nothing connects here")

    def open_host(_: Shard) -> Any:
        return type("NoHost", (), {"websocket": None})()

    intake = intake or Intake(Tracker({}, UlidFactory()), DEFAULT_RULES, lambda _: None)
    return Shard(0, 1, "1", intake, SessionStarts(ask), open_host, position=position, clock=clock)
