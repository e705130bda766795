"""The gateway's payloads as Discord sends them, for one guild, and the events that are made of them."""

from typing import Any

from bot.voice.events import EVENT, Event
from bot.voice.observation import Observation
from bot.voice.occupancy import FLAGS

GUILD = "41771983423143937"
GENERAL = "127121515262115840"
STAGE = "127121515262115841"
NELLY = "80351110224678912"
OTHER = "80351110224678913"
T0 = 1_763_708_400_000


def voice_state(user: str, channel: str | None, **fields: Any) -> dict[str, Any]:
    """Return a VOICE_STATE_UPDATE as Discord sends it."""
    flags = dict.fromkeys(FLAGS, False)
    del flags["self_stream"]  # optional, and absent while nobody streams
    return {
        "guild_id": GUILD,
        "channel_id": channel,
        "user_id": user,
        "member": member(user),
        "session_id": "s",
        "request_to_speak_timestamp": None,
        **flags,
        **fields,
    }


def member(user: str) -> dict[str, Any]:
    return {
        "user": {"id": user, "username": "nelly", "global_name": "Nelly G.", "avatar": None},
        "nick": "Nelly",
        "roles": [],
    }


def guild_create(present: dict[str, str], *, session_id: str = "s", **fields: Any) -> dict[str, Any]:
    """Return a GUILD_CREATE with the people in *present*; as Discord does, without members in the states."""
    states = []
    for user, channel in present.items():
        state = voice_state(user, channel, session_id=session_id)
        del state["guild_id"], state["member"]
        states.append(state)
    return {
        "id": GUILD,
        "name": "Base",
        "unavailable": False,
        "channels": [
            {"id": GENERAL, "type": 2, "name": "General", "flags": 0},
            {"id": STAGE, "type": 13, "name": "Stage"},
            {"id": "127121515262115842", "type": 0, "name": "text"},
        ],
        "members": [member(user) for user in present],
        "voice_states": states,
        **fields,
    }


def events(observation: Observation | None) -> list[Event]:
    """Return the observation's events, each checked against the schema."""
    assert observation is not None
    return [EVENT.validate_python(event) for event in observation.events]
