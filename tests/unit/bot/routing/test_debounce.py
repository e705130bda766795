"""What is held while people flap, and what comes of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.routing.debounce import Debouncer, Held, HeldKey
from bot.routing.lane import Lane
from bot.ulid import UlidFactory
from bot.voice.events import EVENT, VoiceEvent
from bot.voice.tracker import Tracker

GUILD = "1"
LANE = Lane("notify", GUILD)
SETTLE_MS = 5000
A, B, C = "51", "52", "53"


class Room:
    """One guild, its capture and a settler that holds everything."""

    def __init__(self) -> None:
        self.capture = Tracker({}, UlidFactory())
        self.capture.snapshot({"id": GUILD}, 0)
        self.settler = Debouncer({}, lambda _guild, channel: self.capture._guilds[GUILD].people_in(channel))
        self.now_ms = 0
        self.at_once: list[VoiceEvent] = []
        self.released: list[VoiceEvent] = []

    def say(self, user: str, channel: str | None, **flags: bool) -> None:
        payload: dict[str, Any] = {"guild_id": GUILD, "user_id": user, "channel_id": channel, **flags}
        observation = self.capture.voice_state(payload, self.now_ms)
        for event in observation.events if observation else []:
            assert event["type"] != "discord.voice.gap"
            taken = self.settler.take(LANE, "default", event, debounce_ms=SETTLE_MS, now_ms=self.now_ms)
            if taken is None:
                self.at_once.append(event)

    def wait(self, ms: int) -> list[VoiceEvent]:
        self.now_ms += ms
        released = [event for _, event in self.settler.release(self.now_ms)]
        for event in released:
            EVENT.validate_python(event)
        self.released += released
        return released

    def go(self, *places: str | None) -> None:
        for place in places:
            self.say("7", place)


def summary(event: VoiceEvent) -> tuple[str, str | None, str | None]:
    data = event["data"]
    previous, channel = data["previous_channel"], data["channel"]
    return event["type"].rpartition(".")[2], previous and previous["id"], channel and channel["id"]


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.mark.parametrize(
    ("before", "then", "net"),
    [
        (None, [A], ("joined", None, A)),
        (None, [A, None], None),
        (None, [A, B], ("joined", None, B)),
        (None, [A, B, None], None),
        (A, [None], ("left", A, None)),
        (A, [None, A], None),
        (A, [B], ("moved", A, B)),
        (A, [B, A], None),
        (A, [B, C], ("moved", A, C)),
        (A, [None, B], ("moved", A, B)),
        (A, [B, None], ("left", A, None)),
        (A, [None, B, A], None),
    ],
)
def test_merges_what_follows_in_time(
    room: Room, before: str | None, then: list[str | None], net: tuple[str, str | None, str | None] | None
) -> None:
    if before is not None:
        room.go(before)
        room.wait(SETTLE_MS)
    room.go(*then)
    assert [summary(event) for event in room.wait(SETTLE_MS)] == ([] if net is None else [net])
    assert len(room.settler) == 0


def test_each_change_restarts_wait(room: Room) -> None:
    """Nothing is let go before it is due."""
    room.go(A)
    assert room.wait(SETTLE_MS - 1) == []
    room.go(B)
    assert room.wait(SETTLE_MS - 1) == []
    assert len(room.wait(1)) == 1


def test_keeps_joins_around_reported_leave(room: Room) -> None:
    for place in (A, None, A):
        room.go(place)
        room.wait(SETTLE_MS)
    assert [summary(event)[0] for event in room.released] == ["joined", "left", "joined"]
    assert len({event["id"] for event in room.released}) == 3


def test_holds_people_separately(room: Room) -> None:
    room.say("7", A)
    room.say("8", A)
    room.say("7", None)
    assert [summary(event) for event in room.wait(SETTLE_MS)] == [("joined", None, A)]


def test_stay_ends_at_first_leave(room: Room) -> None:
    room.go(A)
    room.wait(60_000)
    room.go(B, None)
    (left,) = room.wait(SETTLE_MS)
    assert left["data"]["duration_s"] == 60.0
    assert left["data"]["occupants"] == 0


def test_flags_wait_with_held_join(room: Room) -> None:
    """A change of flags goes at once where nothing is held."""
    room.go(A)
    room.say("7", A, self_mute=True)
    assert room.at_once == []
    (joined,) = room.wait(SETTLE_MS)
    assert joined["data"]["state"]["self_mute"]
    room.say("7", A, self_mute=False)
    assert [event["type"] for event in room.at_once] == ["discord.voice.updated"]


def test_flag_changed_back_is_unchanged(room: Room) -> None:
    room.go(A)
    room.wait(SETTLE_MS)
    room.say("7", B, self_mute=True)
    room.say("7", C, self_mute=False, self_deaf=True)
    (moved,) = room.wait(SETTLE_MS)
    assert moved["data"]["changes"] == {"self_deaf": True}


def test_held_events_survive_restart(room: Room) -> None:
    room.go(A)
    kept: dict[HeldKey, Held] = dict(room.settler._held)
    room.settler = Debouncer(kept, lambda _guild, _channel: 1)
    room.go(B)
    assert [summary(event) for event in room.wait(SETTLE_MS)] == [("joined", None, B)]


def test_forgotten_guild_holds_nothing(room: Room) -> None:
    room.go(A)
    assert list(room.settler.forget("2")) == []
    assert len(list(room.settler.forget(GUILD))) == 1
    assert room.wait(SETTLE_MS) == []


@given(
    st.lists(
        st.tuples(st.sampled_from(["7", "8"]), st.sampled_from([None, A, B]), st.integers(0, 7000)),
        max_size=40,
    )
)
def test_released_events_give_truth(
    steps: list[tuple[str, str | None, int]],
) -> None:
    """Each reported change begins where the one before it ended, and after the last wait all agree."""
    room = Room()
    places: dict[str, str | None] = {}
    for user, channel, wait_ms in steps:
        room.say(user, channel)
        room.wait(wait_ms)
    room.wait(SETTLE_MS)
    for event in room.released:
        kind, origin, channel = summary(event)
        user = event["data"]["user"]["id"]
        assert (origin, kind == "joined") == (places.get(user), places.get(user) is None)
        assert origin != channel
        places[user] = channel
    truth = {user: one.channel_id for user, one in room.capture._guilds[GUILD].occupants.items()}
    assert {user: channel for user, channel in places.items() if channel} == truth
