"""The account itself: that it is right about what is right, and finds each thing that can be wrong."""

import asyncio
import copy
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from bot.clock import format_ms
from bot.ulid import UlidFactory
from bot.voice.tracker import Tracker
from infra.local.discord import Guild, StandIn, Transition
from tests.e2e.reckoning import Life, reckon

Told = list[dict[str, Any]]


class Story:
    """Two people in a guild, told of by two processes with a stretch between them that nobody watched."""

    def __init__(self) -> None:
        standin = StandIn()
        self.guild: Guild = standin.world.add_guild("Base")
        self.log = standin.sent
        self.told: Told = []
        self.lives: list[Life] = []
        self.tracker = Tracker({}, UlidFactory())
        asyncio.run(self._happen())

    async def _happen(self) -> None:
        guild = self.guild
        lobby, stage = guild.add_voice_channel("Lobby"), guild.add_voice_channel("Stage")
        nelly, otto = guild.add_member("nelly"), guild.add_member("otto")
        self._snapshot()
        began_ms = self._now_ms
        await guild.join(nelly, lobby)
        self._tell(nelly.id, lobby.id)
        await guild.join(otto, lobby)
        self._tell(otto.id, lobby.id)
        await guild.update(otto, self_mute=True)
        self._tell(otto.id, lobby.id, self_mute=True)
        ended_ms = self._now_ms
        self.lives.append(Life(began_ms, ended_ms))
        self.tracker.unwatch(guild.id, "restart", since_ms=ended_ms)
        await guild.leave(nelly)
        await guild.move(otto, stage)
        self._snapshot()
        began_ms = self._now_ms
        await guild.move(otto, lobby)
        self._tell(otto.id, lobby.id, self_mute=True)
        await guild.leave(otto)
        self._tell(otto.id, None, self_mute=True)
        self.lives.append(Life(began_ms, self._now_ms))

    @property
    def _now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def _tell(self, user_id: str, channel_id: str | None, **flags: bool) -> None:
        state = {"guild_id": self.guild.id, "user_id": user_id, "channel_id": channel_id, **flags}
        self._take(self.tracker.voice_state(state, self._now_ms))

    def _snapshot(self) -> None:
        self._take(self.tracker.snapshot(orjson.loads(self.guild.build_snapshot()), self._now_ms))

    def _take(self, observation: Any) -> None:
        self.told += copy.deepcopy(observation.events)

    def reckon(self, told: Told | None = None, sent: list[Transition] | None = None) -> Any:
        return reckon(self.told if told is None else told, self.guild, sent or list(self.log), self.lives)


@pytest.fixture(scope="module")
def story() -> Story:
    return Story()


def test_true_account_adds_up(story: Story) -> None:
    found = story.reckon()
    assert (found.seen, found.inferred, found.missed, found.gaps) == (5, 2, 2, 1)
    assert found.reasons == {"restart"}


def _drop(number: int) -> Callable[[Told], object]:
    return lambda told: told.pop(number)


def _twice(number: int) -> Callable[[Told], object]:
    return lambda told: told.insert(number, told[number])


def _swap(number: int) -> Callable[[Told], object]:
    return lambda told: told.insert(number, told.pop(number + 1))


def _set(number: int, *path: str, to: Any) -> Callable[[Told], object]:
    def change(told: Told) -> None:
        place = told[number]
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = to

    return change


# 0 joined, 1 joined, 2 updated, 3 gap, 4 left (inferred), 5 moved (inferred), 6 moved, 7 left
WRONG: dict[str, Callable[[Told], object]] = {
    "the first is lost": _drop(0),
    "one is lost": _drop(1),
    "one is lost before a gap": _drop(2),
    "the gap is missing": _drop(3),
    "an inferred departure is missing": _drop(4),
    "an inferred move is missing": _drop(5),
    "one is lost after a gap": _drop(6),
    "the last is lost": _drop(7),
    "one comes twice": _twice(1),
    "a gap comes twice": _twice(4),
    "two are swapped": _swap(0),
    "seen comes before inferred": _swap(5),
    "an inferred one claims to have been seen": _set(4, "data", "inferred", to=False),
    "one that was seen is called inferred": _set(6, "data", "inferred", to=True),
    "another channel": _set(1, "data", "channel", "id", to="999"),
    "another person": _set(7, "data", "user", "id", to="999"),
    "another flag": _set(2, "data", "changes", to={"self_deaf": True}),
    "a state that no change explains": _set(6, "data", "state", "self_stream", to=True),
    "another number of people": _set(1, "data", "occupants", to=3),
    "a duration that is too long": _set(7, "data", "duration_s", to=999.0),
    "a duration out of nothing": _set(6, "data", "duration_s", to=1.0),
    "a gap with no beginning": _set(3, "data", "from", to=None),
    "a gap that begins too late": _set(3, "data", "from", to=format_ms(9_999_999_999_999)),
    "a gap that ends before it begins": _set(3, "data", "until", to=format_ms(0)),
    "a gap that ends too early": _set(
        3, "data", to={"from": format_ms(0), "until": format_ms(1), "reason": "restart"}
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_mistake_is_found(story: Story, mistake: str) -> None:
    told = copy.deepcopy(story.told)
    WRONG[mistake](told)
    with pytest.raises((AssertionError, KeyError)):
        story.reckon(told)


def test_nothing_told_of_anything_is_found(story: Story) -> None:
    with pytest.raises(AssertionError, match="lost"):
        story.reckon([])
