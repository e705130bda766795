"""What Discord's refusals mean, and how they are said: close codes, statuses, and no answer at all."""

from typing import Final

import aiohttp
import discord
from discord.gateway import ReconnectWebSocket
from discord.http import Route

from bot.errors import RelayError, SettingsError, StartupError
from bot.gateway.websocket import DrainingWebSocket

DISCORD_API: Final = "https://discord.com/api/v10"

# https://docs.discord.com/developers/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes
_FATAL_CLOSES: Final = {
    4010: "Discord refuses the shard. Check VOICE_RELAY_SHARD_IDS and VOICE_RELAY_SHARD_COUNT.",
    4011: "Discord demands more shards. Unset VOICE_RELAY_SHARD_COUNT to take the number that it recommends.",
    4012: "Discord no longer speaks this gateway version. Update voice-relay.",
    4013: "Discord does not know the intents that voice-relay asks for. Update voice-relay.",
    4014: "Discord disallows the intents that voice-relay asks for (guilds, voice states). "
    "Check the bot's page in the developer portal.",
}
_SESSION_GONE: Final = (4007, 4009)
_ABNORMAL: Final = 1006
_ELSEWHERE: Final = (301, 302, 307, 308, 404, 405)
_LOGIN_REFUSED: Final = (
    "VOICE_RELAY_DISCORD_TOKEN: Discord refuses this bot token. "
    "Copy the token anew from the bot's page in the developer portal."
)
_CHECK_URL: Final = "Check VOICE_RELAY_DISCORD_API_URL."


class NotDiscordError(Exception):
    """The REST API answered something that Discord's does not."""


def find_fatal(error: Exception) -> RelayError | None:
    """Return what to end with, if another attempt is of no use."""
    if isinstance(error, discord.LoginFailure):
        return SettingsError([_LOGIN_REFUSED])
    if isinstance(error, discord.ConnectionClosed):
        if error.code == 4004:
            return SettingsError([_LOGIN_REFUSED])
        if error.code in _FATAL_CLOSES:
            return StartupError(_FATAL_CLOSES[error.code])
    return None


def ends_session(error: Exception, websocket: DrainingWebSocket | None) -> bool:
    """Say whether Discord has said that the session is gone."""
    if isinstance(error, ReconnectWebSocket) and not error.resume:
        return True
    return websocket is not None and websocket.socket.close_code in _SESSION_GONE


def explain_end(error: Exception, websocket: DrainingWebSocket | None) -> str:
    """Return in words why a connection to the gateway ended, or was not made."""
    if isinstance(error, ReconnectWebSocket):
        if not error.resume:
            return "Discord says that there is no such session (op 9)"
        code = None if websocket is None else websocket.socket.close_code
        if websocket is not None and websocket.closed_here:
            return "Discord asked for a new connection"
        if code in (None, _ABNORMAL):
            return "the connection broke"
        return f"Discord closed the connection with {code}"
    if isinstance(error, discord.ConnectionClosed):
        return f"Discord closed the connection with {error.code}"
    return _explain(error)


def explain_failure(error: Exception) -> str:
    """Return in words why a request of the REST API failed; where its address may be wrong, that is said."""
    reason = _explain(error)
    unreached = isinstance(error, aiohttp.ClientError | OSError) and Route.BASE != DISCORD_API
    return f"{reason}. {_CHECK_URL}" if unreached or _status_of(error) in _ELSEWHERE else reason


def _explain(error: Exception) -> str:
    if isinstance(error, NotDiscordError):
        return f"{Route.BASE} does not answer as Discord's API does. {_CHECK_URL}"
    if status := _status_of(error):
        return f"Discord answers with {status}"
    if isinstance(error, TimeoutError):
        return "Discord does not answer in time"
    if isinstance(error, aiohttp.ClientError | OSError):
        return f"Discord cannot be reached: {str(error) or type(error).__name__}"
    return f"what came could not be read: {type(error).__name__}"


def _status_of(error: Exception) -> int | None:
    # discord.py gives the answer to GET /gateway/bot as the cause of a failure without a status.
    status = getattr(error.__cause__ if isinstance(error, discord.GatewayNotFound) else error, "status", None)
    return status if isinstance(status, int) else None
