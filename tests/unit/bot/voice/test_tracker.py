"""What the relay makes of the gateway's payloads."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.ulid import UlidFactory
from bot.voice.events import EVENT
from bot.voice.observation import Observation
from bot.voice.occupancy import FLAGS
from bot.voice.tracker import Tracker
from tests.support.frames import (
    GENERAL,
    GUILD,
    NELLY,
    OTHER,
    STAGE,
    T0,
    events,
    guild_create,
    voice_state,
)


def test_describes_join_in_full(tracker: Tracker) -> None:
    (event,) = events(tracker.voice_state(voice_state(NELLY, GENERAL, self_mute=True), T0 + 123))
    assert event == {
        "specversion": "1.0",
        "id": event["id"],
        "source": f"/discord/guilds/{GUILD}",
        "type": "discord.voice.joined",
        "subject": f"users/{NELLY}",
        "time": "2025-11-21T07:00:00.123Z",
        "data": {
            "guild": {"id": GUILD, "name": "Base"},
            "user": {"id": NELLY, "name": "nelly", "display_name": "Nelly", "bot": False},
            "channel": {"id": GENERAL, "name": "General", "kind": "voice"},
            "previous_channel": None,
            "changes": {},
            "occupants": 1,
            "duration_s": None,
            "inferred": False,
            "state": {**dict.fromkeys(FLAGS, False), "self_mute": True},
        },
    }


def test_tells_each_transition_once(tracker: Tracker) -> None:
    steps: list[tuple[dict[str, Any], str, float | None, int]] = [
        (voice_state(NELLY, GENERAL), "joined", None, 1),
        (voice_state(OTHER, GENERAL), "joined", None, 2),
        (voice_state(NELLY, GENERAL, self_stream=True), "updated", None, 2),
        (voice_state(NELLY, STAGE, self_stream=True), "moved", 3.0, 1),
        (voice_state(OTHER, None), "left", 3.0, 0),
        (voice_state(NELLY, None), "left", 2.0, 0),
    ]
    for second, (payload, kind, duration_s, occupants) in enumerate(steps):
        (event,) = events(tracker.voice_state(payload, T0 + second * 1000))
        assert event["type"] == f"discord.voice.{kind}"
        assert event["type"] != "discord.voice.gap"
        assert (event["data"]["duration_s"], event["data"]["occupants"]) == (duration_s, occupants)


def test_move_names_both_channels(tracker: Tracker) -> None:
    """A move also says which flags changed with it."""
    tracker.voice_state(voice_state(NELLY, GENERAL), T0)
    (event,) = events(tracker.voice_state(voice_state(NELLY, STAGE, suppress=True), T0))
    assert event["type"] == "discord.voice.moved"
    assert event["data"]["previous_channel"] == {"id": GENERAL, "name": "General", "kind": "voice"}
    assert event["data"]["channel"] == {"id": STAGE, "name": "Stage", "kind": "stage"}
    assert event["data"]["changes"] == {"suppress": True}


def test_ignores_repeated_state(tracker: Tracker) -> None:
    tracker.voice_state(voice_state(NELLY, GENERAL), T0)
    repeated = voice_state(NELLY, GENERAL, request_to_speak_timestamp="2025-11-21T07:00:00.000Z")
    assert tracker.voice_state(repeated, T0 + 1) is None


def test_notes_new_session_silently(tracker: Tracker) -> None:
    """It is kept for the next snapshot, and is no transition."""
    tracker.voice_state(voice_state(NELLY, GENERAL), T0)
    observation = tracker.voice_state(voice_state(NELLY, GENERAL, session_id="other"), T0 + 1)
    assert events(observation) == []
    assert events(tracker.snapshot(guild_create({NELLY: GENERAL}, session_id="other"), T0 + 2)) == []


def test_ignores_leave_of_absent_person(tracker: Tracker) -> None:
    assert tracker.voice_state(voice_state(NELLY, None), T0) is None


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"guild_id": GUILD},
        {"user_id": NELLY, "channel_id": GENERAL},
        {"guild_id": "x", "user_id": NELLY, "channel_id": GENERAL},
        {"guild_id": GUILD, "user_id": None, "member": {"user": None}, "channel_id": GENERAL},
        {"guild_id": GUILD, "user_id": True, "member": [], "channel_id": GENERAL},
    ],
)
def test_ignores_payload_without_person(tracker: Tracker, payload: dict[str, Any]) -> None:
    assert tracker.voice_state(payload, T0) is None


@pytest.mark.parametrize(
    "gone",
    [
        ["member"],
        ["session_id", "request_to_speak_timestamp", "deaf", "mute", "self_deaf", "self_mute"],
        ["member", *[flag for flag in FLAGS if flag != "self_stream"]],
        ["user_id"],
    ],
)
def test_tolerates_missing_fields(tracker: Tracker, gone: list[str]) -> None:
    payload = voice_state(NELLY, GENERAL)
    for name in gone:
        del payload[name]
    (event,) = events(tracker.voice_state(payload, T0))
    assert event["type"] == "discord.voice.joined"
    assert event["data"]["user"]["id"] == NELLY


def test_remembers_person_without_member(tracker: Tracker) -> None:
    """A later payload without a member object keeps the name that was known."""
    tracker.voice_state(voice_state(NELLY, GENERAL), T0)
    payload = voice_state(NELLY, None)
    payload["member"] = None
    (event,) = events(tracker.voice_state(payload, T0))
    assert event["type"] == "discord.voice.left"
    assert event["data"]["user"]["display_name"] == "Nelly"


def test_turns_numeric_ids_into_strings(tracker: Tracker) -> None:
    payload = {
        **voice_state(NELLY, GENERAL),
        "user_id": int(NELLY),
        "channel_id": int(GENERAL),
        "guild_id": int(GUILD),
    }
    (event,) = events(tracker.voice_state(payload, T0))
    assert event["type"] == "discord.voice.joined"
    assert (event["data"]["user"]["id"], event["data"]["guild"]["id"]) == (NELLY, GUILD)


def test_hidden_channel_shows_no_name() -> None:
    """It keeps its id."""
    tracker = Tracker({}, UlidFactory())
    hidden = {"id": GENERAL, "type": 2, "name": "___hidden___", "flags": 1 << 17, "bitrate": None}
    tracker.snapshot(guild_create({}, channels=[hidden, "nonsense", {"id": STAGE}]), T0)
    (event,) = events(tracker.voice_state(voice_state(NELLY, GENERAL), T0))
    assert event["type"] == "discord.voice.joined"
    assert event["data"]["channel"] == {"id": GENERAL, "name": None, "kind": "voice"}


def test_follows_channel_changes(tracker: Tracker) -> None:
    tracker.channel_changed({"guild_id": GUILD, "id": "5", "type": 2, "name": "New"})
    tracker.channel_changed({"guild_id": GUILD, "id": GENERAL, "type": 2, "name": "Renamed"})
    (joined,) = events(tracker.voice_state(voice_state(NELLY, "5"), T0))
    tracker.channel_deleted({"guild_id": GUILD, "id": "5"})
    (moved,) = events(tracker.voice_state(voice_state(NELLY, GENERAL), T0))
    assert joined["type"] == "discord.voice.joined"
    assert joined["data"]["channel"] == {"id": "5", "name": "New", "kind": "voice"}
    assert moved["type"] == "discord.voice.moved"
    assert moved["data"]["previous_channel"] == {"id": "5", "name": None, "kind": "unknown"}
    assert moved["data"]["channel"] == {"id": GENERAL, "name": "Renamed", "kind": "voice"}


@pytest.mark.parametrize("known", [False, True])
def test_ignores_states_before_snapshot(tracker: Tracker, known: bool) -> None:
    """Nobody watches yet; the snapshot tells where people are, after the gap if there is one."""
    tracker.forget(GUILD)
    if known:
        tracker.snapshot(guild_create({}), T0)
        tracker.unwatch(GUILD, "session_lost", since_ms=T0)
    assert tracker.voice_state(voice_state(NELLY, GENERAL), T0 + 1) is None
    assert tracker.voice_state(voice_state(OTHER, None), T0 + 2) is None
    told = events(tracker.snapshot(guild_create({NELLY: GENERAL}), T0 + 3))
    kinds = [event["type"].removeprefix("discord.voice.") for event in told]
    assert kinds == (["gap", "joined"] if known else [])
    assert all(event["data"].get("inferred", True) for event in told)


def test_replayed_stay_has_no_duration(tracker: Tracker) -> None:
    """A frame that is replayed to a resumed session happened at some earlier time."""
    tracker.voice_state(voice_state(NELLY, GENERAL), T0)
    (moved,) = events(tracker.voice_state(voice_state(NELLY, STAGE), T0 + 60_000, replayed=True))
    (left,) = events(tracker.voice_state(voice_state(NELLY, None), T0 + 90_000))
    assert moved["type"] == "discord.voice.moved"
    assert left["type"] == "discord.voice.left"
    assert (moved["data"]["duration_s"], left["data"]["duration_s"]) == (None, None)
    assert not moved["data"]["inferred"]


@pytest.mark.parametrize("to", [STAGE, None])
def test_replayed_end_has_no_duration(tracker: Tracker, to: str | None) -> None:
    tracker.voice_state(voice_state(NELLY, GENERAL), T0)
    (event,) = events(tracker.voice_state(voice_state(NELLY, to), T0 + 60_000, replayed=True))
    assert event["type"] != "discord.voice.gap"
    assert event["data"]["duration_s"] is None


def test_replayed_flags_keep_arrival(tracker: Tracker) -> None:
    """Whoever was seen to come and to go has a duration, whatever was replayed in between."""
    tracker.voice_state(voice_state(NELLY, GENERAL), T0)
    tracker.voice_state(voice_state(NELLY, GENERAL, self_mute=True), T0 + 60_000, replayed=True)
    (left,) = events(tracker.voice_state(voice_state(NELLY, None), T0 + 90_000))
    assert left["type"] == "discord.voice.left"
    assert left["data"]["duration_s"] == 90.0


def test_duration_before_arrival_is_unknown(tracker: Tracker) -> None:
    """The clock was set back, so the arrival seems to lie in the future."""
    tracker.voice_state(voice_state(NELLY, GENERAL), T0)
    (left,) = events(tracker.voice_state(voice_state(NELLY, None), T0 - 60_000))
    assert left["type"] == "discord.voice.left"
    assert left["data"]["duration_s"] is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from([*FLAGS, "guild_id", "user_id", "channel_id", "member"]),
        JSON | st.sampled_from([GUILD, NELLY, GENERAL]),
    )
)
def test_any_voice_state_keeps_schema(payload: dict[str, Any]) -> None:
    """No payload raises, or gives an event that the schema does not allow."""
    tracker = Tracker({}, UlidFactory())
    tracker.snapshot(guild_create({NELLY: GENERAL}), T0)
    observation = tracker.voice_state(payload, T0)
    for event in observation.events if observation else []:
        EVENT.validate_python(event)


@given(st.dictionaries(st.sampled_from(["name", "channels", "members", "voice_states", "unavailable"]), JSON))
def test_any_guild_payload_is_tolerated(fields: dict[str, Any]) -> None:
    tracker = Tracker({}, UlidFactory())
    observation = tracker.snapshot({**guild_create({NELLY: GENERAL}), **fields}, T0)
    assert observation is None or observation.events == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from([NELLY, OTHER, "3"]),
            st.sampled_from([None, GENERAL, STAGE]),
            st.sets(st.sampled_from(FLAGS)),
        ),
        max_size=40,
    )
)
def test_replayed_events_give_states(
    steps: list[tuple[str, str | None, set[str]]],
) -> None:
    """An independent reader of the events ends up where Discord's states were, at every step."""
    tracker = Tracker({}, UlidFactory())
    tracker.snapshot(guild_create({}), T0)
    truth: dict[str, tuple[str, set[str]]] = {}
    read: dict[str, tuple[str, set[str]]] = {}
    for user, channel, flags in steps:
        payload = voice_state(user, channel, **{flag: flag in flags for flag in FLAGS})
        if channel is None:
            truth.pop(user, None)
        else:
            truth[user] = (channel, flags)
        for event in events(tracker.voice_state(payload, T0) or Observation(GUILD)):
            assert event["type"] != "discord.voice.gap"
            data = event["data"]
            before = read.pop(data["user"]["id"], None)
            previous = data["previous_channel"]
            came_from = before[0] if before and event["type"] != "discord.voice.updated" else None
            assert (previous["id"] if previous else None) == came_from
            if data["channel"] is not None:
                on = {flag for flag, value in data["state"].items() if value}
                read[data["user"]["id"]] = (data["channel"]["id"], on)
        assert read == truth
