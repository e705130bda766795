"""Payloads of unknown shapes: each costs itself, and is named without its contents."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.ulid import UlidFactory
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
    member,
    voice_state,
)

ODD: list[Any] = [[], {}, {"id": GENERAL}, ["x"], "x", 1.5, True, -1, "9" * 21]
"""Neither an id nor absent."""


class Guild:
    """A guild in which two people are in voice; ``skipped`` names what could not be read."""

    def __init__(self) -> None:
        self.skipped: list[str] = []
        self.tracker = Tracker(
            {}, UlidFactory(), on_skipped=lambda guild_id, parts: self.skipped.extend([guild_id, *parts])
        )
        self.tracker.snapshot(guild_create({NELLY: GENERAL, OTHER: GENERAL}), T0)

    def kinds(self, states: list[Any], **fields: Any) -> list[str]:
        """Return what a later snapshot with *states* gives rise to, but for the gap."""
        self.tracker.unwatch(GUILD, "session_lost", since_ms=T0)
        payload = {**guild_create({}), "members": [member(NELLY)], "voice_states": states, **fields}
        gap, *told = events(self.tracker.snapshot(payload, T0 + 1000))
        assert gap["type"] == "discord.voice.gap"
        return [event["type"].removeprefix("discord.voice.") for event in told]


@pytest.fixture
def guild() -> Guild:
    return Guild()


def state(user: Any, channel: Any, **fields: Any) -> dict[str, Any]:
    return {**voice_state(user, channel), "member": None, **fields}


@pytest.mark.parametrize("odd", [{"id": "5", "type": [2]}, {"id": "5", "type": {}}, {"id": "5"}])
def test_odd_channel_costs_itself(guild: Guild, odd: dict[str, Any]) -> None:
    channels = [odd, {"id": STAGE, "type": 13, "name": "Stage", "parent_id": [], "flags": "x"}]
    states = [state(NELLY, STAGE), state(OTHER, GENERAL)]
    assert guild.kinds(states, channels=channels) == ["moved"]
    assert guild.skipped == [GUILD, "channel 5"]
    (left,) = events(guild.tracker.voice_state(voice_state(NELLY, None), T0 + 2000))
    assert left["type"] == "discord.voice.left"
    assert left["data"]["previous_channel"] == {"id": STAGE, "name": "Stage", "kind": "stage"}


@pytest.mark.parametrize("channel_id", ODD)
def test_channel_of_unknown_id_is_skipped(guild: Guild, channel_id: Any) -> None:
    channels = [{"id": channel_id, "type": 2, "name": "x"}]
    assert guild.kinds([state(NELLY, GENERAL), state(OTHER, GENERAL)], channels=channels) == []
    assert guild.skipped == [GUILD, "channel of unknown id"]


@pytest.mark.parametrize("channel_id", ODD)
def test_person_in_odd_channel_stays(guild: Guild, channel_id: Any) -> None:
    """Where they are cannot be read: that is no departure, but how long they stay is not known any more."""
    assert guild.kinds([state(NELLY, channel_id), state(OTHER, STAGE)]) == ["moved"]
    assert guild.skipped == [GUILD, f"voice state of user {NELLY}"]
    assert guild.tracker.people_in(GUILD, GENERAL) == 1


@pytest.mark.parametrize("odd", [None, "x", [], {"channel_id": GENERAL}, {"user_id": [], "member": 5}])
def test_state_of_nobody_costs_itself(guild: Guild, odd: Any) -> None:
    assert guild.kinds([odd, state(NELLY, STAGE), state(OTHER, GENERAL)]) == ["moved"]
    assert guild.skipped == [GUILD, "voice state of an unknown user"]


@pytest.mark.parametrize("odd", [{}, "x", 7, True])
def test_no_list_of_states_moves_nobody(guild: Guild, odd: Any) -> None:
    assert guild.kinds(odd) == []
    assert guild.skipped == [GUILD, "all voice states"]


@pytest.mark.parametrize("channel_id", ODD)
def test_odd_place_is_no_departure(guild: Guild, channel_id: Any) -> None:
    """Not even without the channel: only null says that somebody is in none."""
    assert guild.tracker.voice_state(voice_state(NELLY, channel_id), T0 + 1) is None
    absent = voice_state(NELLY, GENERAL)
    del absent["channel_id"]
    assert guild.tracker.voice_state(absent, T0 + 2) is None
    assert guild.skipped == [GUILD, f"voice state of user {NELLY}"] * 2
    assert guild.tracker.people_in(GUILD, GENERAL) == 2


def test_odd_channel_update_is_skipped(guild: Guild) -> None:
    assert guild.tracker.channel_changed({"guild_id": GUILD, "id": GENERAL, "type": [2]}) is None
    assert guild.skipped == [GUILD, f"channel {GENERAL}"]


def test_half_surrogates_can_be_written(guild: Guild) -> None:
    """JSON allows half a character, which no file takes."""
    half = "a\ud800"
    person = {"user": {"id": NELLY, "username": half}, "nick": half, "roles": []}
    channels = [{"id": GENERAL, "type": 2, "name": half}]
    payload = {**guild_create({}), "name": half, "channels": channels}
    observation = guild.tracker.snapshot(payload, T0 + 1)
    assert observation is not None
    assert observation.guild is not None
    assert (observation.guild.name, "?" in (observation.guild.places or "")) == ("a?", True)
    (joined,) = events(guild.tracker.voice_state(voice_state(NELLY, GENERAL, member=person), T0 + 2))
    assert joined["type"] == "discord.voice.joined"
    assert joined["data"]["user"]["name"] == "a?"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ["id", "type", "name", "flags", "parent_id", "user_id", "channel_id", "member", "user"]
)
OBJECTS = JSON | st.dictionaries(KEYS, JSON)


@given(st.lists(OBJECTS, max_size=5), st.lists(OBJECTS, max_size=5), st.lists(OBJECTS, max_size=5))
def test_any_parts_cost_only_themselves(channels: list[Any], members: list[Any], states: list[Any]) -> None:
    """Whatever is among the parts of a snapshot, those that are in order are taken."""
    guild = Guild()
    kinds = guild.kinds(
        [*states, state(NELLY, STAGE), state(OTHER, GENERAL)],
        channels=[*channels, {"id": STAGE, "type": 13, "name": "Stage"}],
        members=[*members, member(NELLY)],
    )
    assert "moved" in kinds
    assert "left" not in kinds
    assert guild.tracker._guilds[GUILD].channels[STAGE] == {"id": STAGE, "name": "Stage", "kind": "stage"}
