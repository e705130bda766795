"""A guild's objects as plain data; ``guild`` changes them, ``payloads`` serializes them as Discord does."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from infra.local.discord.permissions import EVERYONE, Overwrite, Permission


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
    """The flags of a voice state: set by the server (mute, deaf, suppress) or by the user (self_*)."""

    DEAF = 1
    MUTE = 2
    SELF_DEAF = 4
    SELF_MUTE = 8
    SELF_STREAM = 16
    SELF_VIDEO = 32
    SUPPRESS = 64


NO_FLAGS = Flag(0)

# Server mute and deafen belong to the member and persist when they leave voice; all other flags reset.
LASTING_FLAGS = Flag.DEAF | Flag.MUTE


def parse_flags(flags: Mapping[str, bool]) -> tuple[Flag, Flag]:
    """Return the named flags, and those of them to turn on."""
    named = on = NO_FLAGS
    for name, value in flags.items():
        flag = Flag[name.upper()]
        named |= flag
        on |= flag if value else NO_FLAGS
    return named, on


def apply_flags(before: Flag, flags: Mapping[str, bool]) -> Flag:
    if not flags:
        return before
    named, on = parse_flags(flags)
    return before & ~named | on


@dataclass(slots=True)
class User:
    id: str
    name: str
    display_name: str | None
    bot: bool = False
    # Whether the bot may write to this user; privacy settings decide that at Discord.
    accepts_dms: bool = True


@dataclass(slots=True)
class Role:
    """A *managed* role is an integration's own, and is given to no one else."""

    id: str
    name: str
    permissions: Permission = EVERYONE
    position: int = 0
    managed: bool = False


@dataclass(slots=True)
class Member:
    """A user in one guild. ``lasting`` holds server mute and deafen, which persist outside voice."""

    user: User
    nick: str | None = None
    role_ids: tuple[str, ...] = ()
    joined_at: str = "2022-03-01T12:00:00.000000+00:00"
    lasting: Flag = NO_FLAGS
    # A cache of the member's JSON by lasting flags, because a burst repeats it thousands of times.
    json: dict[int, bytes] = field(default_factory=dict, repr=False, compare=False)

    @property
    def id(self) -> str:
        return self.user.id

    @property
    def shown_name(self) -> str:
        return self.nick or self.user.display_name or self.user.name


# How the fields of a channel that the bot may not view are hidden: null or absent.
Obfuscation = Literal["null", "absent"]


@dataclass(slots=True)
class Channel:
    id: str
    name: str
    type: ChannelType
    position: int = 0
    parent_id: str | None = None
    obfuscated: Obfuscation | None = None
    # By the id of the role or the member.
    overwrites: dict[str, Overwrite] = field(default_factory=dict)


@dataclass(slots=True)
class VoiceState:
    channel: Channel
    session_id: str
    flags: Flag = NO_FLAGS


class AuditEntry(NamedTuple):
    """One action of the bot in the guild's audit log.

    Discord names no target for a move and a disconnect.
    """

    # https://docs.discord.com/developers/resources/audit-log#audit-log-entry-object-audit-log-events
    action: Literal["member_update", "member_role_update", "member_move", "member_disconnect"]
    target_id: str | None
    reason: str | None
    changes: Mapping[str, Any]
