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
def test_what_follows_in_time_undoes_merges_or_collapses(
    room: Room, before: str | None, then: list[str | None], net: tuple[str, str | None, str | None] | None
) -> None:
    if before is not None:
        room.go(before)
        room.wait(SETTLE_MS)
    room.go(*then)
    assert [summary(event) for event in room.wait(SETTLE_MS)] == ([] if net is None else [net])
    assert len(room.settler) == 0


def test_nothing_is_let_go_before_its_time_and_each_change_begins_it_anew(room: Room) -> None:
    room.go(A)
    assert room.wait(SETTLE_MS - 1) == []
    room.go(B)
    assert room.wait(SETTLE_MS - 1) == []
    assert len(room.wait(1)) == 1


def test_two_joins_with_a_leave_between_them_that_was_reported_are_two_joins(room: Room) -> None:
    for place in (A, None, A):
        room.go(place)
        room.wait(SETTLE_MS)
    assert [summary(event)[0] for event in room.released] == ["joined", "left", "joined"]
    assert len({event["id"] for event in room.released}) == 3


def test_people_are_held_each_by_themselves(room: Room) -> None:
    room.say("7", A)
    room.say("8", A)
    room.say("7", None)
    assert [summary(event) for event in room.wait(SETTLE_MS)] == [("joined", None, A)]


def test_a_stay_is_counted_to_the_moment_it_was_left_for_good(room: Room) -> None:
    room.go(A)
    room.wait(60_000)
    room.go(B, None)
    (left,) = room.wait(SETTLE_MS)
    assert left["data"]["duration_s"] == 60.0
    assert left["data"]["occupants"] == 0


def test_a_change_of_flags_waits_with_the_coming_that_is_held_and_goes_at_once_otherwise(room: Room) -> None:
    room.go(A)
    room.say("7", A, self_mute=True)
    assert room.at_once == []
    (joined,) = room.wait(SETTLE_MS)
    assert joined["data"]["state"]["self_mute"]
    room.say("7", A, self_mute=False)
    assert [event["type"] for event in room.at_once] == ["discord.voice.updated"]


def test_a_flag_that_is_changed_and_changed_back_on_the_way_is_no_change(room: Room) -> None:
    room.go(A)
    room.wait(SETTLE_MS)
    room.say("7", B, self_mute=True)
    room.say("7", C, self_mute=False, self_deaf=True)
    (moved,) = room.wait(SETTLE_MS)
    assert moved["data"]["changes"] == {"self_deaf": True}


def test_what_is_held_goes_on_in_the_next_process(room: Room) -> None:
    room.go(A)
    kept: dict[HeldKey, Held] = dict(room.settler._held)
    room.settler = Debouncer(kept, lambda _guild, _channel: 1)
    room.go(B)
    assert [summary(event) for event in room.wait(SETTLE_MS)] == [("joined", None, B)]


def test_a_guild_that_is_gone_has_nothing_held(room: Room) -> None:
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
def test_whoever_reads_only_what_was_let_go_ends_up_with_the_truth(
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
