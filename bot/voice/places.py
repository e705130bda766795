"""What a guild's payloads say of its places: channels, their categories, and which is the AFK channel."""

from bot.voice.occupancy import GuildOccupancy
from bot.voice.payloads import (
    Payload,
    UnreadableError,
    parse_category_id,
    parse_channel,
    parse_id,
    parse_objects,
    parse_text,
)


def describe_guild(guild: GuildOccupancy, payload: Payload, skipped: list[str]) -> None:
    """Take what a GUILD_CREATE says of the guild; *skipped* takes what was unreadable."""
    guild.guild = {"id": guild.guild["id"], "name": parse_text(payload.get("name"))}
    guild.afk_channel_id = parse_id(payload.get("afk_channel_id"))
    guild.channels, guild.categories = {}, {}
    for item in parse_objects(payload, "channels"):
        try:
            channel = parse_channel(item)
        except UnreadableError as error:
            skipped.append(str(error))
            continue
        if channel is not None:
            guild.describe(channel, parse_category_id(item))


def change_guild(guild: GuildOccupancy, payload: Payload) -> bool:
    """Take a GUILD_UPDATE; False unless the guild's name or its AFK channel changed."""
    before = guild.guild["name"], guild.afk_channel_id
    name = parse_text(payload.get("name"))
    if name is not None:
        guild.guild = {"id": guild.guild["id"], "name": name}
    if "afk_channel_id" in payload:
        guild.afk_channel_id = parse_id(payload["afk_channel_id"])
    return before != (guild.guild["name"], guild.afk_channel_id)


def change_channel(guild: GuildOccupancy, payload: Payload) -> bool:
    """Take a CHANNEL_CREATE or CHANNEL_UPDATE; False if it changes nothing that is kept.

    Raises UnreadableError.
    """
    channel = parse_channel(payload)
    if channel is None:
        return False
    category_id = parse_category_id(payload)
    channel_id = channel["id"]
    if guild.channels.get(channel_id) == channel and guild.categories.get(channel_id) == category_id:
        return False
    guild.describe(channel, category_id)
    return True


def delete_channel(guild: GuildOccupancy, payload: Payload) -> bool:
    """Take a CHANNEL_DELETE; False for a channel that is not kept."""
    channel_id = parse_id(payload.get("id")) or ""
    if channel_id not in guild.channels:
        return False
    del guild.channels[channel_id]
    # A rule about the category still holds for people who are leaving.
    if not guild.people_in(channel_id):
        guild.categories.pop(channel_id, None)
    return True
