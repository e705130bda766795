"""All guilds of the stand-in, and name lookups across them."""

import time
from collections.abc import Callable

from infra.local.discord.guild import Guild, Publisher
from infra.local.discord.model import Channel, User
from infra.local.discord.permissions import NO_PERMISSIONS, Permission
from infra.local.discord.snowflakes import Snowflakes, shard_of
from infra.local.discord.transitions import TransitionLog


class World:
    """The state of the simulated Discord; operations are on ``Guild``."""

    def __init__(
        self,
        *,
        publisher: Publisher,
        log: TransitionLog,
        snowflakes: Snowflakes,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.guilds: dict[str, Guild] = {}
        self.log = log
        self.bot = User(snowflakes.make("user"), "voice-relay", None, bot=True)
        self._publisher = publisher
        self._snowflakes = snowflakes
        self._clock = clock

    def add_guild(self, name: str, *, has_bot: bool = True) -> Guild:
        """Add a guild, visible to sessions from their next READY.

        With *has_bot* false it stays hidden until ``Guild.add_bot``, which connected sessions hear of at
        once. A guild added while a session runs is unknown to that session, which is a case to test.
        """
        guild = Guild(
            name,
            snowflakes=self._snowflakes,
            publisher=self._publisher,
            record=self.log.append,
            clock=self._clock,
            bot=self.bot,
        )
        guild.has_bot = has_bot
        self.guilds[guild.id] = guild
        return guild

    def guilds_of_shard(self, shard_id: int, shard_count: int) -> list[Guild]:
        return [
            guild
            for guild in self.guilds.values()
            if guild.has_bot and shard_of(int(guild.id), shard_count) == shard_id
        ]

    def user_name(self, user_id: str) -> str | None:
        """Return the user's shown name, or ``None`` if unknown."""
        for guild in self.guilds.values():
            if user_id in guild.members:
                return guild.members[user_id].shown_name
        return None

    def guild_of(self, channel: Channel) -> str | None:
        """Return the id of the channel's guild, or ``None`` if unknown."""
        return next((guild.id for guild in self.guilds.values() if channel.id in guild.channels), None)

    def find_user(self, user_id: str) -> User | None:
        for guild in self.guilds.values():
            if user_id in guild.members:
                return guild.members[user_id].user
        return None

    def find_channel(self, channel_id: str) -> Channel | None:
        for guild in self.guilds.values():
            if channel_id in guild.channels:
                return guild.channels[channel_id]
        return None

    def bot_permissions(self, channel: Channel) -> Permission:
        """Return what the bot may do in *channel*."""
        for guild in self.guilds.values():
            if channel.id in guild.channels and guild.has_bot:
                return guild.permissions_of(guild.members[self.bot.id], channel)
        return NO_PERMISSIONS

    def channel_name(self, channel_id: str) -> str | None:
        for guild in self.guilds.values():
            if channel_id in guild.channels:
                return guild.channels[channel_id].name
        return None

    def role_name(self, role_id: str) -> str | None:
        for guild in self.guilds.values():
            if role_id in guild.roles:
                return guild.roles[role_id].name
        return None
