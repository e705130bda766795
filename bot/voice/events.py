"""The events that the relay forwards: CloudEvents 1.0 as JSON. Their schema is defined here and only here.

An event is a plain dictionary from the start, because tens of thousands a second are written and the bot
reads none of them again. ``EVENT`` checks one against the schema; ``json_schema()`` publishes it.

To add an event type, enter it in ``VoiceEventType``; ``moves`` decides when it happens and ``transitions``
builds it, the words for it stand in ``workflow/source/``, and ``infra/local/audit`` reads it in the channel.

Discord's ids are strings throughout: a snowflake does not fit into the double in which many JSON readers,
Step Functions among them, hold a number.
"""

from typing import Annotated, Any, Literal

import pydantic

# pydantic needs typing_extensions.TypedDict before Python 3.12.
from typing_extensions import TypedDict

Snowflake = Annotated[str, pydantic.StringConstraints(pattern=r"^[0-9]{1,20}$")]
Timestamp = Annotated[str, pydantic.StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]

VoiceEventType = Literal[
    "discord.voice.joined", "discord.voice.left", "discord.voice.moved", "discord.voice.updated"
]
GapReason = Literal["restart", "session_lost", "guild_unavailable", "store_full", "handed_over"]
ChannelKind = Literal["voice", "stage", "unknown"]


class Guild(TypedDict):
    id: Snowflake
    name: str | None


class User(TypedDict):
    """All but ``id`` are ``None`` where Discord never sent them."""

    id: Snowflake
    name: str | None
    display_name: str | None
    bot: bool | None


class Channel(TypedDict):
    """``name`` is ``None`` for a channel that the bot may not see."""

    id: Snowflake
    name: str | None
    kind: ChannelKind


class VoiceFlags(TypedDict):
    self_mute: bool
    self_deaf: bool
    mute: bool
    deaf: bool
    self_stream: bool
    self_video: bool
    suppress: bool


class VoiceChanges(TypedDict, total=False):
    """The flags that changed, with their new values."""

    self_mute: bool
    self_deaf: bool
    mute: bool
    deaf: bool
    self_stream: bool
    self_video: bool
    suppress: bool


class VoiceData(TypedDict):
    """What happened to one person.

    ``channel`` is where the person is now (``None`` after ``left``), ``previous_channel`` where they were
    (``None`` after ``joined`` and ``updated``). ``occupants`` counts the people in ``channel`` after the
    event, or in ``previous_channel`` after ``left``. ``duration_s`` is the time spent in the channel that
    was left; ``None`` where the arrival or the departure was not seen when it happened.
    """

    guild: Guild
    user: User
    channel: Channel | None
    previous_channel: Channel | None
    changes: VoiceChanges
    occupants: int
    duration_s: float | None
    inferred: bool
    state: VoiceFlags


# "from" is a Python keyword, so this one is written in the functional form.
GapData = TypedDict(
    "GapData",
    {"guild": Guild, "from": Timestamp | None, "until": Timestamp, "reason": GapReason},
)


class _Envelope(TypedDict):
    specversion: Literal["1.0"]
    id: str
    source: Annotated[str, pydantic.StringConstraints(pattern=r"^/discord/guilds/[0-9]{1,20}$")]
    time: Timestamp


class VoiceEvent(_Envelope):
    """Somebody joined, left or moved, or a flag of their voice state changed."""

    type: VoiceEventType
    subject: Annotated[str, pydantic.StringConstraints(pattern=r"^users/[0-9]{1,20}$")]
    data: VoiceData


class GapEvent(_Envelope):
    """The guild was not watched between ``from`` and ``until``."""

    type: Literal["discord.voice.gap"]
    data: GapData


Event = VoiceEvent | GapEvent

EVENT: pydantic.TypeAdapter[Event] = pydantic.TypeAdapter(
    Annotated[Event, pydantic.Field(discriminator="type")],
    config=pydantic.ConfigDict(extra="forbid", strict=True),
)


def json_schema(event_type: str | None = None) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of one event, or of the events of one type."""
    if event_type is None:
        return EVENT.json_schema()
    schema = EVENT.json_schema()
    chosen = schema["$defs"]["GapEvent" if event_type == "discord.voice.gap" else "VoiceEvent"]
    kind = {"const": event_type, "title": "Type", "type": "string"}
    return {
        **chosen,
        "properties": {**chosen["properties"], "type": kind},
        "$defs": {name: each for name, each in schema["$defs"].items() if not name.endswith("Event")},
    }
