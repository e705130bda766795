"""Discord's objects as JSON, field for field as the gateway and the REST API send them.

Voice states are assembled from cached bytes, because a burst sends tens of thousands per second.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from infra.local.discord.model import Channel, ChannelType, Flag, Member, Role, User, VoiceState

Json = dict[str, Any]

_VIEW_CHANNEL = 1 << 10
# From November 2026, a channel that the bot may not view keeps only its id, type, position and parent.
# https://docs.discord.com/developers/resources/channel
_OBFUSCATED_FLAG = 1 << 17
_OBFUSCATED_NAME = "___hidden___"


_EMPTY_LISTS = (
    "embedded_activities",
    "emojis",
    "features",
    "guild_scheduled_events",
    "presences",
    "soundboard_sounds",
    "stage_instances",
    "stickers",
    "threads",
)
_NULLS = (
    "afk_channel_id",
    "application_id",
    "banner",
    "description",
    "discovery_splash",
    "hub_type",
    "icon",
    "incidents_data",
    "public_updates_channel_id",
    "rules_channel_id",
    "safety_alerts_channel_id",
    "splash",
    "system_channel_id",
    "vanity_url_code",
)
_GUILD_SETTINGS: Json = {
    "afk_timeout": 300,
    "default_message_notifications": 0,
    "explicit_content_filter": 0,
    "verification_level": 0,
    "mfa_level": 0,
    "nsfw_level": 0,
    "premium_tier": 0,
    "premium_subscription_count": 0,
    "system_channel_flags": 0,
    "max_members": 25_000_000,
    "max_video_channel_users": 25,
    "max_stage_video_channel_users": 50,
    "preferred_locale": "en-US",
    "region": "deprecated",
    "nsfw": False,
    "lazy": True,
    "premium_progress_bar_enabled": False,
}


def build_user(user: User) -> Json:
    # https://docs.discord.com/developers/resources/user#user-object
    return {
        "id": user.id,
        "username": user.name,
        "global_name": user.display_name,
        "display_name": user.display_name,
        "discriminator": "0000" if user.bot else "0",
        "avatar": None,
        "avatar_decoration_data": None,
        "collectibles": None,
        "primary_guild": None,
        "display_name_styles": None,
        "public_flags": 0,
        "bot": user.bot,
    }


def build_own_user(user: User) -> Json:
    """Build the bot's own account, the only user with these extra fields."""
    return build_user(user) | {
        "verified": True,
        "mfa_enabled": False,
        "email": None,
        "flags": 0,
        "locale": "en-US",
        "banner": None,
        "accent_color": None,
        "bio": "",
    }


def build_application(application_id: str, owner: User) -> Json:
    # https://docs.discord.com/developers/resources/application
    return {
        "id": application_id,
        "name": "Voice Relay",
        "icon": None,
        "description": "",
        "summary": "",
        "type": None,
        "bot_public": False,
        "bot_require_code_grant": False,
        "verify_key": "0" * 64,
        "owner": build_user(owner),
        "team": None,
        "flags": 0,
        "hook": True,
        "redirect_uris": [],
        "interactions_endpoint_url": None,
        "role_connections_verification_url": None,
        "approximate_guild_count": 0,
        "integration_types_config": {"0": {}},
    }


def build_member(member: Member, flags: Flag | None = None) -> Json:
    flags = member.lasting if flags is None else flags
    return {
        "user": build_user(member.user),
        "nick": member.nick,
        "avatar": None,
        "banner": None,
        "roles": list(member.role_ids),
        "joined_at": member.joined_at,
        "premium_since": None,
        "communication_disabled_until": None,
        "pending": False,
        "flags": 0,
        "mute": bool(flags & Flag.MUTE),
        "deaf": bool(flags & Flag.DEAF),
    }


@functools.cache
def _flags_json(flags: Flag) -> bytes:
    names: Json = {flag.name.lower(): bool(flags & flag) for flag in Flag if flag.name}
    if not flags & Flag.SELF_STREAM:
        # The only optional flag: Discord omits it unless the user streams.
        del names["self_stream"]
    return orjson.dumps(names)[1:-1]


def build_voice_state(guild_id: str, member: Member, state: VoiceState, *, connected: bool) -> bytes:
    """Build the data of a VOICE_STATE_UPDATE; *connected* is false if the member has just left."""
    # https://docs.discord.com/developers/resources/voice#voice-state-object
    lasting = member.lasting
    member_json = member.json.get(lasting)
    if member_json is None:
        member_json = member.json[lasting] = orjson.dumps(build_member(member))
    channel = b'"%b"' % state.channel.id.encode() if connected else b"null"
    return (
        b'{"member":%b,"user_id":"%b","session_id":"%b",%b,"request_to_speak_timestamp":null,'
        b'"guild_id":"%b","channel_id":%b}'
        % (
            member_json,
            member.user.id.encode(),
            state.session_id.encode(),
            _flags_json(state.flags),
            guild_id.encode(),
            channel,
        )
    )


def build_channel(channel: Channel, guild_id: str) -> Json:
    # https://docs.discord.com/developers/resources/channel#channel-object
    kept: Json = {
        "id": channel.id,
        "type": int(channel.type),
        "guild_id": guild_id,
        "position": channel.position,
        "parent_id": channel.parent_id,
    }
    fields: Json = {
        "name": channel.name,
        "flags": 0,
        "permission_overwrites": [
            {
                "id": target_id,
                "type": int(overwrite.of_member),
                "allow": str(int(overwrite.allow)),
                "deny": str(int(overwrite.deny)),
            }
            for target_id, overwrite in channel.overwrites.items()
        ],
        "nsfw": False,
        "rate_limit_per_user": 0,
    }
    if channel.type is ChannelType.TEXT:
        fields |= {"topic": None, "last_message_id": None, "default_auto_archive_duration": 1440}
    if channel.type.has_voice:
        fields |= {"bitrate": 64_000, "user_limit": 0, "rtc_region": None, "last_message_id": None}
        fields |= {"video_quality_mode": 1, "voice_background_display": None, "status": None}
    if channel.type is ChannelType.STAGE:
        fields["topic"] = None
    if channel.obfuscated is None:
        return kept | fields
    hidden: Json = dict.fromkeys(fields) if channel.obfuscated == "null" else {}
    deny = {"id": guild_id, "type": 0, "allow": "0", "deny": str(_VIEW_CHANNEL)}
    hidden |= {"name": _OBFUSCATED_NAME, "flags": _OBFUSCATED_FLAG, "permission_overwrites": [deny]}
    return kept | hidden


def build_role(role: Role) -> Json:
    return {
        "id": role.id,
        "name": role.name,
        "permissions": str(int(role.permissions)),
        "position": role.position,
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "icon": None,
        "unicode_emoji": None,
        "managed": role.managed,
        "mentionable": False,
        "flags": 0,
    }


def build_guild(
    *,
    guild_id: str,
    name: str,
    owner_id: str,
    roles: Iterable[Role],
    channels: Iterable[Channel],
    members: Sequence[Member],
    member_count: int,
    voice_states: Iterable[bytes],
) -> bytes:
    """Build the data of a GUILD_CREATE for an available guild.

    *members* are the bot and the members in voice; without the presences intent Discord sends no others.
    *voice_states* come from ``build_voice_state``; their guild id and member are dropped here.
    """
    # https://docs.discord.com/developers/events/gateway-events#guild-create
    states: list[Json] = [orjson.loads(state) for state in voice_states]
    for state in states:
        del state["guild_id"], state["member"]
    plain: Json = {
        "id": guild_id,
        "name": name,
        "owner_id": owner_id,
        "unavailable": False,
        "member_count": member_count,
        "large": member_count > 250,
        "joined_at": "2022-03-01T12:00:00.000000+00:00",
        "roles": [build_role(role) for role in roles],
        "channels": [build_channel(channel, guild_id) for channel in channels],
        "members": [build_member(member) for member in members],
        "voice_states": states,
    }
    for channel in plain["channels"]:
        # Channels inside a GUILD_CREATE do not repeat the guild's id.
        del channel["guild_id"]
    return orjson.dumps(plain | _build_guild_defaults())


def _build_guild_defaults() -> Json:
    """Return the fields that are the same for every guild here."""
    empty: Json = {key: [] for key in _EMPTY_LISTS}
    return empty | dict.fromkeys(_NULLS) | _GUILD_SETTINGS
