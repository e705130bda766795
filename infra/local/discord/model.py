"""The things in a guild, as plain data. ``guild`` changes them, ``payloads`` writes them as Discord does."""

import enum
from dataclasses import dataclass, field
from typing import Literal


class ChannelType(enum.IntEnum):
    # https://docs.discord.com/developers/resources/channel#channel-object-channel-types
    TEXT = 0
    VOICE = 2
    CATEGORY = 4
    STAGE = 13

    @property
    def has_voice(self) -> bool:
        return self in (ChannelType.VOICE, ChannelType.STAGE)


class Flag(enum.IntFlag):
    """The switches of a voice state: the server's (mute, deaf, suppress) and one's own."""

    DEAF = 1
    MUTE = 2
    SELF_DEAF = 4
    SELF_MUTE = 8
    SELF_STREAM = 16
    SELF_VIDEO = 32
    SUPPRESS = 64


NO_FLAGS = Flag(0)

# The server's mute and deafen belong to the member and outlast a visit; everything else ends with it.
LASTING_FLAGS = Flag.DEAF | Flag.MUTE


@dataclass(slots=True)
class User:
    id: str
    name: str
    display_name: str | None
    bot: bool = False


@dataclass(slots=True)
class Role:
    id: str
    name: str


@dataclass(slots=True)
class Member:
    """A user in one guild. ``lasting`` holds the server's mute and deafen, which outlast a visit."""

    user: User
    nick: str | None = None
    role_ids: tuple[str, ...] = ()
    joined_at: str = "2022-03-01T12:00:00.000000+00:00"
    lasting: Flag = NO_FLAGS
    # The member's JSON by lasting flags: a burst repeats it thousands of times.
    json: dict[int, bytes] = field(default_factory=dict, repr=False, compare=False)

    @property
    def id(self) -> str:
        return self.user.id

    @property
    def shown_name(self) -> str:
        return self.nick or self.user.display_name or self.user.name


# How much of a channel that the bot may not see is left out: set to null, or absent altogether.
Obfuscation = Literal["null", "absent"]


@dataclass(slots=True)
class Channel:
    id: str
    name: str
    type: ChannelType
    position: int = 0
    parent_id: str | None = None
    obfuscated: Obfuscation | None = None


@dataclass(slots=True)
class VoiceState:
    channel: Channel
    session_id: str
    flags: Flag = NO_FLAGS
