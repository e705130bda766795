"""An example of every event, for whoever writes a rule or a workflow. Pure.

joined    a person came into a voice channel
left      ... and left it after 93.5 seconds
moved     ... from one channel to another
updated   ... and turned their camera on
gap       the relay was restarting, and saw nothing for 4 seconds
"""

from collections.abc import Mapping
from typing import Any, Final

from bot.voice.events import Event, GapEvent, VoiceData, VoiceEvent

PREFIX: Final = "discord.voice."

GUILD: Final = "41771983423143937"
USER: Final = "80351110224678912"
GENERAL: Final = "127121515262115840"
LOUNGE: Final = "127121515262115841"

_GENERAL: Final[Any] = {"id": GENERAL, "name": "General", "kind": "voice"}
_LOUNGE: Final[Any] = {"id": LOUNGE, "name": "Lounge", "kind": "voice"}
_UNMUTED: Final[Any] = {
    **dict.fromkeys(("self_mute", "self_deaf", "mute", "deaf", "self_stream", "self_video"), False),
    "suppress": False,
}
_TIME: Final = "2026-11-21T07:00:00.123Z"

# What differs from a join.
_DIFFERENCES: Final[Mapping[str, Mapping[str, Any]]] = {
    "joined": {},
    "left": {"channel": None, "previous_channel": _GENERAL, "occupants": 1, "duration_s": 93.5},
    "moved": {"channel": _LOUNGE, "previous_channel": _GENERAL, "occupants": 3, "duration_s": 93.5},
    "updated": {"changes": {"self_video": True}, "state": {**_UNMUTED, "self_video": True}},
}
KINDS: Final = (*_DIFFERENCES, "gap")


def build_sample(kind: str) -> Event:
    """Return an example of the event *kind*, one of ``KINDS``."""
    return _build_gap() if kind == "gap" else _build_voice(kind)


def _build_voice(kind: str) -> VoiceEvent:
    data: VoiceData = {
        "guild": {"id": GUILD, "name": "Base"},
        "user": {"id": USER, "name": "nelly", "display_name": "Nelly", "bot": False},
        "channel": _GENERAL,
        "previous_channel": None,
        "changes": {},
        "occupants": 2,
        "duration_s": None,
        "inferred": False,
        "state": _UNMUTED,
        **_DIFFERENCES[kind],  # type: ignore[typeddict-item]  # all of them are data of a voice event
    }
    return {
        "specversion": "1.0",
        "id": "01JD6ZV3YB0000000000000000",
        "source": f"/discord/guilds/{GUILD}",
        "type": PREFIX + kind,  # type: ignore[typeddict-item]  # the kinds are the types' last words
        "subject": f"users/{USER}",
        "time": _TIME,
        "data": data,
    }


def _build_gap() -> GapEvent:
    return {
        "specversion": "1.0",
        "id": "01JD6ZV3YB0000000000000001",
        "source": f"/discord/guilds/{GUILD}",
        "type": "discord.voice.gap",
        "time": _TIME,
        "data": {
            "guild": {"id": GUILD, "name": "Base"},
            "from": "2026-11-21T06:59:56.000Z",
            "until": "2026-11-21T07:00:00.000Z",
            "reason": "restart",
        },
    }
