"""What the gateway's refusals mean, and how they are said: close codes, bad frames, and no answer at all."""

from typing import Final

import aiohttp
import discord
from discord.gateway import ReconnectWebSocket

from bot.errors import RelayError, SettingsError, StartupError
from bot.gateway.frames import BadFrameError
from bot.gateway.rest import LOGIN_REFUSED, RestError, explain_unreached
from bot.gateway.websocket import DrainingWebSocket

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
_CHECK_WAY: Final = (
    "Check VOICE_RELAY_DISCORD_API_URL and any proxy on the way; without them, update voice-relay"
)


def find_fatal(error: Exception) -> RelayError | None:
    """Return what to end with, if another attempt is of no use."""
    if isinstance(error, SettingsError):
        return error
    if isinstance(error, discord.ConnectionClosed):
        if error.code == 4004:
            return SettingsError([LOGIN_REFUSED])
        if error.code in _FATAL_CLOSES:
            return StartupError(_FATAL_CLOSES[error.code])
    return None


def ends_session(error: Exception, websocket: DrainingWebSocket | None) -> bool:
    """Say whether Discord has said that the session is gone."""
    if isinstance(error, ReconnectWebSocket) and not error.resume:
        return True
    return websocket is not None and websocket.socket.close_code in _SESSION_GONE


def find_bad_frame(error: Exception, websocket: DrainingWebSocket | None) -> str | None:
    """Return what the connection ended over, if that was something that the protocol does not have."""
    if isinstance(error, BadFrameError):
        return error.what
    return None if websocket is None or websocket.closed_here else websocket.broken_rule


def explain_end(error: Exception, websocket: DrainingWebSocket | None) -> str:
    """Return in words why a connection to the gateway ended, or was not made."""
    bad = find_bad_frame(error, websocket)
    if bad is not None:
        return f"the gateway sent {bad}. {_CHECK_WAY}"
    if isinstance(error, ReconnectWebSocket):
        return _explain_reconnect(error, websocket)
    if isinstance(error, discord.ConnectionClosed):
        return f"Discord closed the connection with {error.code}"
    if isinstance(error, RestError):
        return str(error)
    if isinstance(error, aiohttp.WSServerHandshakeError):
        # Discord's own trouble is a 5xx; anything else comes from a portal or a proxy.
        remedy = "" if error.status >= 500 else f". {_CHECK_WAY}"
        return f"Discord answers with {error.status}{remedy}"
    if isinstance(error, TimeoutError):
        return "Discord does not answer in time"
    if isinstance(error, aiohttp.ClientError | OSError):
        return explain_unreached(error)
    return f"what came could not be read: {type(error).__name__}"


def _explain_reconnect(error: ReconnectWebSocket, websocket: DrainingWebSocket | None) -> str:
    if not error.resume:
        return "Discord says that there is no such session (op 9)"
    code = None if websocket is None else websocket.socket.close_code
    if websocket is not None and websocket.closed_here:
        return "Discord asked for a new connection"
    if code in (None, _ABNORMAL):
        return "the connection broke"
    return f"Discord closed the connection with {code}"
