"""Discord's permissions, and how roles and a channel's overwrites add up to them."""

# https://docs.discord.com/developers/topics/permissions

import enum
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Permission(enum.IntFlag):
    """The permissions that the routes here ask for."""

    ADMINISTRATOR = 1 << 3
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    READ_MESSAGE_HISTORY = 1 << 16
    MENTION_EVERYONE = 1 << 17
    CONNECT = 1 << 20
    MUTE_MEMBERS = 1 << 22
    DEAFEN_MEMBERS = 1 << 23
    MOVE_MEMBERS = 1 << 24
    MANAGE_ROLES = 1 << 28


NO_PERMISSIONS = Permission(0)
ALL_PERMISSIONS = ~NO_PERMISSIONS
EVERYONE = Permission.VIEW_CHANNEL | Permission.CONNECT
BOT = (
    EVERYONE
    | Permission.SEND_MESSAGES
    | Permission.EMBED_LINKS
    | Permission.READ_MESSAGE_HISTORY
    | Permission.MENTION_EVERYONE
    | Permission.MUTE_MEMBERS
    | Permission.DEAFEN_MEMBERS
    | Permission.MOVE_MEMBERS
    | Permission.MANAGE_ROLES
)
"""What the bot's own role grants until a test takes it away."""


class Overwrite(NamedTuple):
    """What a channel allows and denies one role, or one member."""

    allow: Permission = NO_PERMISSIONS
    deny: Permission = NO_PERMISSIONS
    of_member: bool = False


def add_up(
    *,
    everyone_id: str,
    role_ids: Iterable[str],
    user_id: str,
    granted: Mapping[str, Permission],
    overwrites: Mapping[str, Overwrite],
) -> Permission:
    """Return what a member may do in a channel; without *overwrites*, in the guild.

    *granted* has the permissions of each role by its id; @everyone's id is the guild's.
    """
    roles = [role_id for role_id in role_ids if role_id in granted]
    allowed = granted[everyone_id]
    for role_id in roles:
        allowed |= granted[role_id]
    if Permission.ADMINISTRATOR in allowed:
        return ALL_PERMISSIONS
    everyone = overwrites.get(everyone_id, Overwrite())
    allowed = allowed & ~everyone.deny | everyone.allow
    of_roles = [overwrites[role_id] for role_id in roles if role_id in overwrites]
    for overwrite in of_roles:
        allowed &= ~overwrite.deny
    for overwrite in of_roles:
        allowed |= overwrite.allow
    own = overwrites.get(user_id, Overwrite())
    allowed = allowed & ~own.deny | own.allow
    # https://docs.discord.com/developers/topics/permissions#implicit-permissions
    return allowed if not overwrites or Permission.VIEW_CHANNEL in allowed else NO_PERMISSIONS
