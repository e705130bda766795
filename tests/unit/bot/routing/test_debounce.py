"""What is held while people flap, and what comes of it."""

import itertools
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.clock import format_ms
from bot.routing.debounce import Debouncer, Held, HeldKey
from bot.routing.rules import Rule, Rules
from bot.ulid import UlidFactory
from bot.voice.events import EVENT, VoiceEvent
from bot.voice.observation import Observation
from bot.voice.tracker import Tracker
from tests.support.frames import T0

GUILD = "1"
SETTLE_MS = 5000
A, B, C = "51", "52", "53"


class Room:
    """One guild, its tracker, rules and a debouncer; by default the rules hold everything."""

    def __init__(self, *rules: Rule) -> None:
        self.rules = Rules(rules or [Rule(debounce_s=SETTLE_MS / 1000)])
        self.tracker = Tracker({}, UlidFactory())
        self.tracker.snapshot({"id": GUILD}, T0)
        self.now_ms = T0
        self.elapsed_ms = 0
        self.at_once: list[tuple[VoiceEvent, str]] = []
        self.released: list[VoiceEvent] = []
        self.told: list[tuple[str, str]] = []
        self.restart({})

    def restart(self, held: dict[HeldKey, Held]) -> None:
        self.debouncer = Debouncer(
            held, self.tracker.people_in, now_ms=self.now_ms, elapsed_ms=self.elapsed_ms
        )

    def say(self, user: str, channel: str | None, **flags: bool) -> None:
        payload: dict[str, Any] = {
            "guild_id": GUILD,
            "user_id": user,
            "channel_id": channel,
            "session_id": "s",
            **flags,
        }
        self.take(self.tracker.voice_state(payload, self.now_ms))

    def take(self, observation: Observation | None) -> None:
        for event in observation.events if observation else []:
            if event["type"] == "discord.voice.gap":
                continue
            taken = self.debouncer.take(
                event,
                self.rules.find_debounces(event),
                self.rules.route,
                now_ms=self.now_ms,
                elapsed_ms=self.elapsed_ms,
            )
            self.at_once += [(event, route.destination) for route in taken.routes]
            self.told += [(event["type"].rpartition(".")[2], route.destination) for route in taken.routes]

    def wait(self, ms: int) -> list[VoiceEvent]:
        self.now_ms += ms
        self.elapsed_ms += ms
        return self.release()

    def release(self) -> list[VoiceEvent]:
        released = []
        for _, held in self.debouncer.release(self.elapsed_ms, self.tracker.is_watched):
            EVENT.validate_python(held.event)
            self.told += [(held.event["type"].rpartition(".")[2], one.destination) for one in held.routes]
            released += [held.event] if held.routes else []
        self.released += released
        return released

    @property
    def held(self) -> dict[HeldKey, Held]:
        """What is held, as it would be read from disk."""
        return {key: held for key, held in self.debouncer.of_guild(GUILD).items() if held is not None}

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
    assert room.debouncer.count() == 0


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
    assert [event["type"] for event, _ in room.at_once] == ["discord.voice.updated"]


def test_flag_changed_back_is_unchanged(room: Room) -> None:
    room.go(A)
    room.wait(SETTLE_MS)
    room.say("7", B, self_mute=True)
    room.say("7", C, self_mute=False, self_deaf=True)
    (moved,) = room.wait(SETTLE_MS)
    assert moved["data"]["changes"] == {"self_deaf": True}


def test_held_events_survive_restart(room: Room) -> None:
    room.go(A)
    room.restart(room.held)
    room.go(B)
    assert [summary(event) for event in room.wait(SETTLE_MS)] == [("joined", None, B)]


def test_forgotten_guild_holds_nothing(room: Room) -> None:
    room.go(A)
    assert list(room.debouncer.forget("2")) == []
    assert len(list(room.debouncer.forget(GUILD))) == 1
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
    truth = {user: one.channel_id for user, one in room.tracker._guilds[GUILD].occupants.items()}
    assert {user: channel for user, channel in places.items() if channel} == truth


@pytest.mark.parametrize("flap", [(None, A), (B, A), (B, C, A), (None, B, A), (B, None, A)])
def test_stay_around_flap_is_whole(room: Room, flap: tuple[str | None, ...]) -> None:
    """Somebody who was back in time has not left, as far as is told: their stay has its whole length."""
    room.go(A)
    room.wait(16_000)
    for _ in range(2):
        for place in flap:
            room.go(place)
            room.wait(500)
        room.restart(room.held)
    room.wait(7000 - 1000 * len(flap))
    room.go(None)
    (joined, left) = (room.released[0], *room.wait(SETTLE_MS))
    assert (joined["type"], left["type"]) == ("discord.voice.joined", "discord.voice.left")
    assert left["data"]["duration_s"] == 23.0
    assert room.held == {}


def test_move_after_flap_is_whole(room: Room) -> None:
    room.go(A)
    room.wait(16_000)
    room.go(None, A)
    room.wait(7000)
    room.go(B, C)
    (moved,) = room.wait(SETTLE_MS)
    assert summary(moved) == ("moved", A, C)
    assert moved["data"]["duration_s"] == 23.0
    room.wait(1000)
    room.go(None)
    assert room.wait(SETTLE_MS)[0]["data"]["duration_s"] == 6.0


def test_replayed_flap_leaves_stay_unknown(room: Room) -> None:
    """When they left, or came back, is not known: they may have been away for long."""
    for replayed in (None, A):
        room.go(A)
        room.wait(16_000)
        for place in (None, A):
            state = {"guild_id": GUILD, "user_id": "7", "channel_id": place}
            room.take(room.tracker.voice_state(state, room.now_ms, replayed=place == replayed))
        room.wait(7000)
        room.go(None)
        assert room.wait(SETTLE_MS)[0]["data"]["duration_s"] is None


def test_set_clock_releases_nothing(room: Room) -> None:
    """Forward or back by an hour: what is held is due by the time that has passed."""
    for hour_ms in (3_600_000, -3_600_000):
        room.go(A if hour_ms > 0 else None)
        room.now_ms += hour_ms
        assert room.wait(SETTLE_MS - 1) == []
        assert len(room.wait(1)) == 1


@pytest.mark.parametrize(("set_ms", "left_ms"), [(0, 4000), (-3_600_000, 5000), (3000, 1000), (3_600_000, 0)])
def test_restart_bounds_what_is_left(room: Room, set_ms: int, left_ms: int) -> None:
    """By the system time, but never longer than the debounce time."""
    room.go(A)
    room.wait(1000)
    room.now_ms += set_ms
    room.elapsed_ms = 77
    room.restart(room.held)
    assert len(room.release()) == (left_ms == 0)
    if left_ms:
        assert room.wait(left_ms - 1) == []
        assert len(room.wait(1)) == 1


TYPES = ("joined", "left", "moved")
KINDS = [frozenset(kinds) for size in (1, 2) for kinds in itertools.combinations(TYPES, size)]


def held_rule(*types: str, to: str = "default") -> Rule:
    return Rule(types=frozenset(types), destination=to, debounce_s=SETTLE_MS / 1000, continues=True)


def test_undone_join_is_not_told() -> None:
    """Although the rule for joins does not see the leave."""
    room = Room(held_rule("joined"))
    room.go(A, None)
    assert room.wait(SETTLE_MS) == []
    room.go(A, B)
    assert [summary(event) for event in room.wait(SETTLE_MS)] == [("joined", None, B)]
    room.go(None, B)
    assert room.wait(SETTLE_MS) == []


@pytest.mark.parametrize("to", ["default", "other"])
@pytest.mark.parametrize(
    ("then", "told"),
    [
        ([None, A], []),
        ([None, B], [("moved", A, B)]),
        ([B, None], [("left", A, None)]),
        ([B, None, A], []),
        ([None, B, None], [("left", A, None)]),
    ],
)
def test_rules_of_types_share_the_debounce(
    to: str, then: list[str | None], told: list[tuple[str, str | None, str | None]]
) -> None:
    """What is left goes to the rule for it, whatever the steps were and wherever those went."""
    room = Room(held_rule("joined"), held_rule("left", to=to), held_rule("moved"))
    room.go(A)
    room.wait(SETTLE_MS)
    room.told.clear()
    room.go(*then)
    assert [summary(event) for event in room.wait(SETTLE_MS)] == told
    assert room.told == [(kind, to if kind == "left" else "default") for kind, _, _ in told]


def test_what_is_left_may_go_nowhere() -> None:
    room = Room(Rule(types=frozenset({"moved"}), debounce_s=5), Rule(types=frozenset({"left"}), drop=True))
    room.go(A)
    room.wait(SETTLE_MS)
    room.go(B, None)
    assert room.wait(SETTLE_MS) == []
    assert room.held == {}


def test_undebounced_rule_hears_at_once() -> None:
    """Not where what it would say belongs to what is held for the same destination."""
    room = Room(
        held_rule("joined"),
        Rule(types=frozenset({"left"}), destination="log"),
        Rule(types=frozenset({"left"})),
    )
    room.go(A, None)
    assert room.told == [("left", "log")]
    room.wait(SETTLE_MS)
    assert room.told == [("left", "log")]
    shared = Room(held_rule("joined"), Rule(types=frozenset({"left"})))
    shared.go(A, None)
    shared.wait(SETTLE_MS)
    assert shared.told == []


def test_new_rules_keep_what_is_held(room: Room) -> None:
    """What was held under earlier rules is told where it was to go, without a second time at once."""
    room.go(A)
    room.rules = Rules([Rule()])
    room.go(B)
    assert room.told == []
    assert [summary(event) for event in room.wait(SETTLE_MS)] == [("joined", None, B)]
    room.rules = Rules([Rule(drop=True)])
    room.go(None)
    assert room.wait(SETTLE_MS) == []


def test_debounce_times_are_apart() -> None:
    """Two rules with other times tell the same person's ways each in its own view."""
    room = Room(
        Rule(destination="soon", debounce_s=5, continues=True), Rule(destination="late", debounce_s=20)
    )
    room.go(A)
    room.wait(5000)
    room.go(None)
    room.wait(5000)
    room.go(A)
    room.wait(20_000)
    assert room.told == [("joined", "soon"), ("left", "soon"), ("joined", "soon"), ("joined", "late")]
    room.go(None)
    room.wait(20_000)
    assert [event["data"]["duration_s"] for event in room.released[-2:]] == [20.0, 20.0]


def gap(room: Room, place: str | None, *, session_id: str = "s", for_ms: int = 60_000) -> list[VoiceEvent]:
    """Lose the guild for so long; return what is told until the debounce is over."""
    told = len(room.released)
    room.tracker.unwatch(GUILD, "session_lost", since_ms=room.now_ms)
    room.wait(for_ms)
    states = [{"user_id": "7", "channel_id": place, "session_id": session_id}] if place else []
    room.take(room.tracker.snapshot({"id": GUILD, "voice_states": states}, room.now_ms))
    room.wait(0)
    room.wait(SETTLE_MS)
    return room.released[told:]


@pytest.mark.parametrize("held", [[], [B], [B, C], [B, A]])
def test_same_place_across_gap_is_nothing(room: Room, held: list[str]) -> None:
    """Whatever was held when the gap began, and however long it lasted."""
    room.go(A)
    room.wait(SETTLE_MS)
    room.go(*held)
    assert gap(room, A) == []


@pytest.mark.parametrize("place", [A, None])
def test_join_before_gap_waits_for_snapshot(room: Room, place: str | None) -> None:
    room.go(A)
    assert [summary(event) for event in gap(room, place)] == [("joined", None, A)] * (place is not None)


def test_departure_before_gap_is_told(room: Room) -> None:
    """Coming back after more than the debounce time is a return, not a flap."""
    room.go(A)
    room.wait(SETTLE_MS)
    room.go(None)
    assert [summary(event) for event in gap(room, A, session_id="t")] == [
        ("left", A, None),
        ("joined", None, A),
    ]


STEPS = st.lists(st.tuples(st.sampled_from([None, A, B]), st.integers(0, 7000)), max_size=30)


@given(STEPS, st.sampled_from(KINDS), st.booleans())
def test_types_choose_what_is_left(
    steps: list[tuple[str | None, int]], kinds: frozenset[str], restarts: bool
) -> None:
    """A rule for some types tells exactly what a rule for all tells of these types."""
    every, some = Room(), Room(held_rule(*kinds))
    for channel, wait_ms in [*steps, (None, SETTLE_MS)]:
        for room in (every, some):
            room.go(channel)
            room.wait(wait_ms)
            if restarts:
                room.restart(room.held)
    wanted = [(summary(event), event["time"], event["data"]["duration_s"]) for event in every.released]
    assert [(summary(event), event["time"], event["data"]["duration_s"]) for event in some.released] == [
        one for one in wanted if one[0][0] in kinds
    ]


@given(STEPS)
def test_told_stays_have_true_lengths(steps: list[tuple[str | None, int]]) -> None:
    """From when the person came to the place, by what was told, to when they left it, by what happened."""
    room = Room()
    left_at: set[tuple[str, str]] = set()
    place = None
    for channel, wait_ms in [*steps, (None, SETTLE_MS)]:
        if place is not None and channel != place:
            left_at.add((place, format_ms(room.now_ms)))
        place = channel
        room.go(channel)
        room.wait(wait_ms)
    arrived_ms = 0
    for event in room.released:
        _, origin, _ = summary(event)
        if origin is not None:
            duration_s = event["data"]["duration_s"]
            assert duration_s is not None
            assert (origin, format_ms(arrived_ms + round(duration_s * 1000))) in left_at
        arrived_ms = round(datetime.fromisoformat(event["time"]).timestamp() * 1000)


def waiting_room(**both: Any) -> Room:
    """A room whose waiting room is A: coming starts something, going signals it."""
    room_of = frozenset({A})
    return Room(
        Rule(leaving=room_of, destination="gone", debounce_s=SETTLE_MS / 1000, continues=True, **both),
        Rule(entering=room_of, destination="came", debounce_s=SETTLE_MS / 1000, **both),
    )


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([(A, 0), (None, 0)], []),
        ([(A, 0), (B, 0)], []),
        ([(B, SETTLE_MS), (A, 0), (None, 0)], []),
        ([(B, SETTLE_MS), (A, 0), (B, 0)], []),
        ([(A, 0)], [("joined", "came")]),
        ([(B, 0), (A, 0)], [("moved", "came")]),
        ([(B, SETTLE_MS), (A, 0)], [("moved", "came")]),
        ([(A, SETTLE_MS), (None, 0), (A, 0)], [("joined", "came")]),
        ([(A, SETTLE_MS), (B, 0), (A, 0)], [("joined", "came")]),
        ([(A, SETTLE_MS), (None, 0)], [("joined", "came"), ("left", "gone")]),
        ([(A, SETTLE_MS), (B, 0), (C, 0)], [("joined", "came"), ("moved", "gone")]),
        (
            [(A, SETTLE_MS), (None, SETTLE_MS), (A, 0)],
            [("joined", "came"), ("left", "gone"), ("joined", "came")],
        ),
    ],
)
@pytest.mark.parametrize("restarts", [False, True])
def test_entering_is_told_with_its_leaving(
    steps: list[tuple[str | None, int]], told: list[tuple[str, str]], *, restarts: bool
) -> None:
    """People who leave in time never entered, and those who come back in time never left."""
    room = waiting_room()
    for channel, wait_ms in steps:
        room.go(channel)
        room.wait(wait_ms)
        if restarts:
            room.restart(room.held)
    room.wait(SETTLE_MS)
    assert room.told == told


@given(STEPS)
def test_entering_and_leaving_alternate(steps: list[tuple[str | None, int]]) -> None:
    room = waiting_room()
    for channel, wait_ms in [*steps, (None, SETTLE_MS)]:
        room.go(channel)
        room.wait(wait_ms)
    told = [destination for _, destination in room.told]
    assert told == ["came", "gone"] * (len(told) // 2)
