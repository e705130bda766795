"""A guild whose events go straight from what happens to the real tracker: no network, a clock of its own."""

import copy
from collections.abc import Coroutine
from typing import Any, Literal, TypeVar

import orjson

from bot.ulid import UlidFactory
from bot.voice.events import GapReason
from bot.voice.tracker import Tracker
from infra.local.audit import Life
from infra.local.discord import Guild, Transition, TransitionLog, World
from infra.local.discord.snowflakes import Snowflakes

_T = TypeVar("_T")


def run(operation: Coroutine[Any, Any, _T]) -> _T:
    """Run an operation that never has to wait."""
    try:
        operation.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise AssertionError("it waits")


class Story:
    """``sent`` is what happened in ``guild``, ``told`` what was told of it, by processes of ``lives``.

    A millisecond passes with every step.
    """

    def __init__(self) -> None:
        self.now_ms = 1_795_259_000_000
        self.sent = TransitionLog()
        self.told: list[dict[str, Any]] = []
        self.lives: list[Life] = []
        self.watching = False
        world = World(
            publisher=self, log=self.sent, snowflakes=Snowflakes(), clock=lambda: self.now_ms / 1000
        )
        self.guild: Guild = world.add_guild("Base")
        self._tracker = Tracker({}, UlidFactory())
        self._began_ms = self.now_ms

    @property
    def transitions(self) -> list[Transition]:
        return list(self.sent)

    def publish(self, guild_id: str, event: str, data: bytes) -> Literal["live", "unseen"]:
        self.now_ms += 1
        if not self.watching:
            return "unseen"
        self._take(self._tracker.voice_state(orjson.loads(data), self.now_ms))
        return "live"

    async def wait_for_room(self) -> None:
        pass

    def watch(self) -> None:
        """Begin to watch, with a snapshot."""
        self.now_ms += 1
        if not self.watching:
            self._began_ms = self.now_ms
        self.watching = True
        self._take(self._tracker.snapshot(orjson.loads(self.guild.build_snapshot()), self.now_ms))

    def stop(self, reason: GapReason = "restart") -> None:
        """End the watching; what happens from now on is missed until somebody watches again."""
        self._tracker.unwatch(self.guild.id, reason, since_ms=self.now_ms)
        self.lives.append(Life(self._began_ms, self.now_ms))
        self.watching = False

    def _take(self, observation: Any) -> None:
        if observation is not None:
            self.told += copy.deepcopy(observation.events)
