"""Snapshots: what they teach in silence, which gap they end, and what is inferred from them."""

import copy
from typing import Any

import pytest

from bot.ulid import UlidFactory
from bot.voice.gaps import begin_gap
from bot.voice.tracker import Tracker
from tests.support.frames import GENERAL, GUILD, NELLY, OTHER, STAGE, T0, events, guild_create, voice_state


def test_learns_first_snapshot_silently() -> None:
    tracker = Tracker({}, UlidFactory())
    observation = tracker.snapshot(guild_create({NELLY: GENERAL}), T0)
    assert observation is not None
    assert observation.events == []
    assert observation.occupants[NELLY] is not None
    (left,) = events(tracker.voice_state(voice_state(NELLY, None), T0 + 5000))
    assert left["type"] == "discord.voice.left"
    assert left["data"]["duration_s"] is None  # their coming was not seen
    assert left["data"]["user"]["display_name"] == "Nelly"


def test_announced_guild_is_no_snapshot(tracker: Tracker) -> None:
    tracker.voice_state(voice_state(NELLY, GENERAL), T0)
    assert tracker.snapshot({"id": GUILD, "unavailable": True}, T0) is None


def test_infers_changes_after_gap(tracker: Tracker) -> None:
    third = "80351110224678914"
    for user in (NELLY, OTHER):
        tracker.voice_state(voice_state(user, GENERAL), T0)
    tracker.unwatch(GUILD, "session_lost", since_ms=T0 + 1000)
    gap, *inferred = events(tracker.snapshot(guild_create({OTHER: STAGE, third: GENERAL}), T0 + 9000))
    assert gap["type"] == "discord.voice.gap"
    assert gap["data"] == {
        "guild": {"id": GUILD, "name": "Base"},
        "from": "2025-11-21T07:00:01.000Z",
        "until": "2025-11-21T07:00:09.000Z",
        "reason": "session_lost",
    }
    found = {
        (event["type"], event["data"]["user"]["id"], event["data"]["inferred"], event["data"]["duration_s"])
        for event in inferred
        if event["type"] != "discord.voice.gap"
    }
    assert found == {
        ("discord.voice.left", NELLY, True, None),
        ("discord.voice.moved", OTHER, True, None),
        ("discord.voice.joined", third, True, None),
    }
    assert [event["id"] for event in (gap, *inferred)] == sorted(event["id"] for event in (gap, *inferred))


def test_stay_spans_gap(tracker: Tracker) -> None:
    """Somebody who is still there after a gap keeps the time of their arrival."""
    tracker.voice_state(voice_state(NELLY, GENERAL), T0)
    tracker.unwatch(GUILD, "guild_unavailable", since_ms=T0 + 1000)
    (gap,) = events(tracker.snapshot(guild_create({NELLY: GENERAL}), T0 + 9000))
    assert gap["type"] == "discord.voice.gap"
    (left,) = events(tracker.voice_state(voice_state(NELLY, None), T0 + 10_000))
    assert left["type"] == "discord.voice.left"
    assert left["data"]["duration_s"] == 10.0


@pytest.mark.parametrize("channel", [GENERAL, STAGE])
def test_return_within_gap_is_no_stay(tracker: Tracker, channel: str) -> None:
    """Another session: the person has left and come back, and when is unknown."""
    tracker.voice_state(voice_state(NELLY, GENERAL), T0)
    tracker.unwatch(GUILD, "session_lost", since_ms=T0 + 1000)
    snapshot = guild_create({NELLY: channel}, session_id="other")
    _, left, joined = events(tracker.snapshot(snapshot, T0 + 9000))

    assert left["type"] == "discord.voice.left"
    assert joined["type"] == "discord.voice.joined"
    assert left["data"]["inferred"]
    assert joined["data"]["inferred"]
    assert joined["data"]["channel"] == tracker._guilds[GUILD].channel(channel)
    assert joined["data"]["occupants"] == 1
    (gone,) = events(tracker.voice_state(voice_state(NELLY, None), T0 + 10_000))
    assert gone["type"] == "discord.voice.left"
    assert gone["data"]["duration_s"] is None


@pytest.mark.parametrize(("before", "after"), [(None, "s"), ("s", None), (None, None)])
def test_unknown_session_is_a_stay(tracker: Tracker, before: Any, after: Any) -> None:
    """But not one of known length: they may have left and come back."""
    tracker.voice_state(voice_state(NELLY, GENERAL, session_id=before), T0)
    tracker.unwatch(GUILD, "session_lost", since_ms=T0 + 1000)
    (gap,) = events(tracker.snapshot(guild_create({NELLY: GENERAL}, session_id=after), T0 + 9000))
    assert gap["type"] == "discord.voice.gap"
    (left,) = events(tracker.voice_state(voice_state(NELLY, None), T0 + 10_000))
    assert left["type"] == "discord.voice.left"
    assert left["data"]["duration_s"] is None


def test_watched_guild_has_no_gap(tracker: Tracker) -> None:
    """A snapshot of a guild that was watched all along declares none."""
    tracker.voice_state(voice_state(NELLY, GENERAL), T0)
    assert events(tracker.snapshot(guild_create({NELLY: GENERAL}), T0 + 9000)) == []


def test_first_gap_reason_counts(tracker: Tracker) -> None:
    tracker.unwatch(GUILD, "guild_unavailable", since_ms=T0 + 1000)
    assert tracker.unwatch(GUILD, "session_lost", since_ms=T0 + 2000) is None
    (gap,) = events(tracker.snapshot(guild_create({}), T0 + 3000))
    assert gap["type"] == "discord.voice.gap"
    assert (gap["data"]["reason"], gap["data"]["from"]) == ("guild_unavailable", "2025-11-21T07:00:01.000Z")


def test_forgotten_guild_starts_afresh(tracker: Tracker) -> None:
    tracker.voice_state(voice_state(NELLY, GENERAL), T0)
    observation = tracker.forget(GUILD)
    assert observation is not None
    assert observation.forgotten
    assert events(tracker.snapshot(guild_create({OTHER: GENERAL}), T0)) == []


@pytest.mark.parametrize(
    ("joined_at", "told"),
    [
        ("2025-11-20T07:00:00.000000+00:00", True),
        ("2025-11-21T07:00:02.000000+00:00", False),
        (None, True),
        ("some day", True),
        (["x"], True),
    ],
)
def test_lost_file_declares_gap_of_earlier_guilds(joined_at: object, told: bool) -> None:
    """Not of a guild that the bot joined later; and once."""
    tracker = Tracker({}, UlidFactory(), file_lost_ms=T0 + 1000)
    snapshot = {**guild_create({NELLY: GENERAL}), "joined_at": joined_at}
    found = events(tracker.snapshot(snapshot, T0 + 9000))
    assert [event["type"] for event in found] == ["discord.voice.gap"] * told
    if told:
        assert found[0]["data"]["from"] == "2025-11-21T07:00:01.000Z"  # type: ignore[typeddict-item]
    assert events(tracker.snapshot(snapshot, T0 + 9500)) == []


def test_resync_writes_new_arrival(tracker: Tracker) -> None:
    """Somebody who went away and came back while the disk took nothing: the file gets the later arrival."""
    tracker.voice_state(voice_state(NELLY, GENERAL), T0)
    written = copy.deepcopy(tracker._guilds[GUILD])
    begin_gap(written, "store_full", T0 + 1000)
    for second, channel in ((2, STAGE), (3, GENERAL)):
        tracker.voice_state(voice_state(NELLY, channel), T0 + second * 1000)
    (observation,) = tracker.resync({GUILD: written}, T0 + 9000)
    assert [event["type"] for event in events(observation)] == ["discord.voice.gap"]
    row = observation.occupants[NELLY]
    assert row is not None
    assert row.since_ms == tracker._guilds[GUILD].occupants[NELLY].since_ms == T0 + 3000


def test_resync_keeps_arrival_unknown(tracker: Tracker) -> None:
    """The return was replayed: the arrival in the file is not that of the stay that goes on."""
    tracker.voice_state(voice_state(NELLY, GENERAL), T0)
    written = copy.deepcopy(tracker._guilds[GUILD])
    begin_gap(written, "store_full", T0 + 1000)
    for channel in (STAGE, GENERAL):
        tracker.voice_state(voice_state(NELLY, channel), T0 + 5000, replayed=True)
    (observation,) = tracker.resync({GUILD: written}, T0 + 9000)
    row = observation.occupants[NELLY]
    assert row is not None
    assert row.since_ms is None
    (left,) = events(tracker.voice_state(voice_state(NELLY, None), T0 + 10_000))
    assert left["type"] == "discord.voice.left"
    assert left["data"]["duration_s"] is None


def test_gap_begins_after_last_event(tracker: Tracker) -> None:
    """Although the shard was last known to be watching before it."""
    tracker.voice_state(voice_state(NELLY, GENERAL), T0 + 5000)
    tracker.unwatch(GUILD, "session_lost", since_ms=T0 + 1000)
    (gap,) = events(tracker.snapshot(guild_create({NELLY: GENERAL}), T0 + 9000))
    tracker.unwatch(GUILD, "session_lost", since_ms=T0 + 1000)
    (second,) = events(tracker.snapshot(guild_create({NELLY: GENERAL}), T0 + 12_000))
    assert gap["type"] == second["type"] == "discord.voice.gap"
    assert gap["data"]["from"] == "2025-11-21T07:00:05.000Z"
    assert second["data"]["from"] == gap["data"]["until"]
