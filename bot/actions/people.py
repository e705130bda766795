"""Where people are now, as the relay knows from the gateway: no request, no permission."""

import asyncio
from collections.abc import Callable
from typing import Final

from bot.actions.refusal import NOT_WATCHED, ActionError
from bot.voice.occupancy import GuildOccupancy

_WAIT_S: Final = 10.0
"""How long to wait for a server to be watched: a start brings it within seconds."""
_LOOK_S: Final = 0.2


class People:
    """*find_watched* returns a server's occupancy, ``None`` unless it is watched now, over a connection."""

    def __init__(self, find_watched: Callable[[str], GuildOccupancy | None]) -> None:
        self._find_watched = find_watched

    def find(self, guild_id: str, user_id: str) -> str | None:
        """Return the person's voice channel, ``None`` if they are in none; raises LookupError if unknown."""
        guild = self._find_watched(guild_id)
        if guild is None:
            raise LookupError("the server is not watched now")
        return _channel_of(guild, user_id)

    async def list(self, guild_id: str, channel_id: str) -> list[str]:
        """Return who is in the channel; raises ActionError."""
        guild = await self._wait_watched(guild_id)
        return [user_id for user_id, each in guild.occupants.items() if each.channel_id == channel_id]

    def is_in(self, guild_id: str, user_id: str, channel_id: str) -> bool:
        """Tell whether the person is known to be in the channel."""
        guild = self._find_watched(guild_id)
        return guild is not None and _channel_of(guild, user_id) == channel_id

    async def _wait_watched(self, guild_id: str) -> GuildOccupancy:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + _WAIT_S
        while (guild := self._find_watched(guild_id)) is None:
            if loop.time() >= until_s:
                raise ActionError(
                    NOT_WATCHED,
                    "the bot does not see this server now: it is not in it, not connected, or another of its "
                    "processes has the server's shard",
                )
            await asyncio.sleep(_LOOK_S)
        return guild


def _channel_of(guild: GuildOccupancy, user_id: str) -> str | None:
    occupant = guild.occupants.get(user_id)
    return None if occupant is None else occupant.channel_id
