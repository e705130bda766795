"""discord.py's WebSocket, without a timer for frames that have already arrived.

discord.py guards the wait for each frame with a timer, which costs as much as reading the frame. In a burst
the next frame is there already. So only the first frame is awaited under the timer; those behind it are read
without one.
"""

# Uses private names of discord.py 2.7 and aiohttp 3.14; a test counts the timers of a burst and fails if one
# of them changes.

import discord.shard
from discord.gateway import DiscordWebSocket


class DrainingWebSocket(DiscordWebSocket):
    """Takes the place of discord.py's own in every shard."""

    async def poll_event(self) -> None:
        await super().poll_event()
        timeout_s = self._max_heartbeat_timeout
        # None means no timer: what is in the buffer is not waited for.
        self._max_heartbeat_timeout = None  # type: ignore[assignment]
        try:
            while self.socket._reader._buffer:
                await super().poll_event()
        finally:
            self._max_heartbeat_timeout = timeout_s


def use_draining_websocket() -> None:
    """Have discord.py make its shards' connections of this kind."""
    discord.shard.DiscordWebSocket = DrainingWebSocket  # type: ignore[misc]
