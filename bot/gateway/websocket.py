"""discord.py's WebSocket, reading a burst at the price of its frames alone.

discord.py guards the wait for each frame with a timer. Under a burst the next frame is there already, and the
timer costs as much as reading it. So one frame is waited for, under the timer, and those that have arrived
behind it are read without.
"""

# Written against discord.py 2.7 and aiohttp 3.14, of which it uses names that are not public; a test counts
# the timers of a burst and fails if any of them changes.

import discord.shard
from discord.gateway import DiscordWebSocket


class DrainingWebSocket(DiscordWebSocket):
    """Takes the place of discord.py's own in every shard."""

    async def poll_event(self) -> None:
        await super().poll_event()
        timeout_s = self._max_heartbeat_timeout
        # None is no timer at all; what is in the buffer is not waited for.
        self._max_heartbeat_timeout = None  # type: ignore[assignment]
        try:
            while self.socket._reader._buffer:
                await super().poll_event()
        finally:
            self._max_heartbeat_timeout = timeout_s


def use_draining_websocket() -> None:
    """Have discord.py make its shards' connections of this kind."""
    discord.shard.DiscordWebSocket = DrainingWebSocket  # type: ignore[misc]
