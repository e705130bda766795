"""Discord's gateway, by discord.py: connects, resumes, shards, and hands over every payload as it came.

discord.py dispatches events as tasks, and mutates voice states before the handlers run. But it calls its
table of parsers for each frame, in order, before it reads the next: the relay puts its own functions there,
before discord.py's or instead of them. An error in one of discord.py's parsers (over a hidden channel, say)
is logged and costs no more than discord.py's own cache.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp
import discord
import structlog
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.backoff import backoff_s
from bot.clock import Clock, system_clock
from bot.errors import SettingsError, StartupError
from bot.gateway.intake import Intake
from bot.gateway.websocket import use_draining_websocket
from bot.voice.payloads import Payload, parse_id, parse_objects, shard_of

log = structlog.get_logger(__name__)

_Parser = Callable[[Payload], object]

# https://docs.discord.com/developers/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes
_FATAL_CLOSES = {
    4010: "Discord refuses the shard. Check VOICE_RELAY_SHARD_IDS and VOICE_RELAY_SHARD_COUNT.",
    4011: "Discord demands more shards. Unset VOICE_RELAY_SHARD_COUNT to take the number that it recommends.",
    4012: "Discord no longer speaks this gateway version. Update voice-relay.",
    4013: "Discord does not know the intents that voice-relay asks for. Update voice-relay.",
    4014: "Discord disallows the intents that voice-relay asks for (guilds, voice states). "
    "Check the bot's page in the developer portal.",
}
_LOGIN_REFUSED = (
    "VOICE_RELAY_DISCORD_TOKEN: Discord refuses this bot token. "
    "Copy the token anew from the bot's page in the developer portal."
)


class Gateway(discord.AutoShardedClient):
    """The bot's connection to Discord, with all its shards; the rest of the bot never sees discord.py.

    *seen_ms* is when each shard last heard something; a later gateway of the process continues it.
    """

    def __init__(
        self,
        intake: Intake,
        *,
        shard_ids: Sequence[int] | None = None,
        shard_count: int | None = None,
        seen_ms: dict[int, int] | None = None,
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(
            intents=discord.Intents(guilds=True, voice_states=True),
            max_messages=None,
            chunk_guilds_at_startup=False,
            member_cache_flags=discord.MemberCacheFlags.none(),
            shard_count=shard_count,
        )
        if shard_ids:
            self.shard_ids = list(shard_ids)
        self._intake = intake
        self._clock = clock
        self._seen_ms = {} if seen_ms is None else seen_ms
        self._connected: set[int] = set()
        self.was_connected = False
        self._take_over_parsers()

    async def setup_hook(self) -> None:
        """Take the gateway's address from the API; after some failures discord.py would use Discord's own."""
        count, url, limits = await self.http.get_bot_gateway()
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url)
        self.shard_count = self.shard_count or count
        log.info("gateway_found", shards=self.shard_count, identifies_left=limits["remaining"])

    @property
    def connected_shards(self) -> int:
        return len(self._connected)

    @property
    def unconnected_shards(self) -> list[int]:
        """The shards that should be connected and are not; before the first connection, at least shard 0."""
        return [shard_id for shard_id in self._expected_shards() if shard_id not in self._connected]

    def watched_until(self) -> tuple[int, dict[int, int]]:
        """Return the number of shards, and until when each of this process is known to have been watching."""
        now_ms = self._clock()
        for shard_id, info in self.shards.items():
            # discord.py keeps when it last received something, on a clock of its own, but not in public.
            keep_alive = info._parent.ws._keep_alive
            if keep_alive is not None and shard_id in self._connected:
                silence_s = time.perf_counter() - keep_alive._last_recv
                self._note_seen(shard_id, now_ms - int(silence_s * 1000))
        return self.shard_count or 1, dict(self._seen_ms)

    def _note_seen(self, shard_id: int, seen_ms: int) -> None:
        self._seen_ms[shard_id] = max(self._seen_ms.get(shard_id, 0), seen_ms)

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Pass on discord.py's events, except the one that it dispatches for every frame."""
        if event == "socket_event_type":
            return
        if event == "shard_disconnect":
            self._connected.discard(args[0])
            log.warning("shard_disconnected", shard_id=args[0])
        super().dispatch(event, *args, **kwargs)

    def _take_over_parsers(self) -> None:
        """Put the relay's functions before discord.py's parsers, and let no parser end a connection."""
        ours: dict[str, _Parser] = {
            "READY": self._on_session,
            "RESUMED": self._on_resumed,
            "GUILD_CREATE": self._intake.guild_created,
            "GUILD_UPDATE": self._intake.guild_updated,
            "GUILD_DELETE": self._intake.guild_deleted,
            "CHANNEL_CREATE": self._intake.channel_changed,
            "CHANNEL_UPDATE": self._intake.channel_changed,
            "CHANNEL_DELETE": self._intake.channel_deleted,
        }
        parsers: dict[str, Any] = self._connection.parsers
        for name, theirs in parsers.items():
            parsers[name] = _chain(name, [ours[name]] if name in ours else [], theirs)
        # discord.py's parser only fills a cache that nothing here reads.
        ours_alone = [self._intake.voice_state, self._note_voice_state]
        parsers["VOICE_STATE_UPDATE"] = _chain("VOICE_STATE_UPDATE", ours_alone, None)

    def _note_voice_state(self, payload: Payload) -> None:
        guild_id = parse_id(payload.get("guild_id"))
        shard_id = None if guild_id is None else self._shard_of_guild(guild_id)
        # A later gap must not reach back before an event that was seen. During a replay that is unknown: the
        # event happened earlier, and more may be missing.
        if shard_id in self._connected:
            self._seen_ms[shard_id] = self._clock()

    def _on_session(self, payload: Payload) -> None:
        """Take READY: a new session, to which nothing of the old one is replayed."""
        shard_id = _shard_of(payload)
        guild_ids = {parse_id(guild.get("id")) for guild in parse_objects(payload, "guilds")}
        self._intake.session_began(
            lambda guild_id: self._shard_of_guild(guild_id) == shard_id,
            {guild_id for guild_id in guild_ids if guild_id is not None},
            since_ms=self._seen_ms.get(shard_id),
        )
        self._connected.add(shard_id)
        self.was_connected = True
        self._seen_ms[shard_id] = self._clock()
        log.info("shard_ready", shard_id=shard_id, guilds=len(guild_ids))

    def _on_resumed(self, payload: Payload) -> None:
        """Take RESUMED: everything missed has been replayed before it."""
        shard_id = int(payload["__shard_id__"])
        self._connected.add(shard_id)
        self._seen_ms[shard_id] = self._clock()
        log.info("shard_resumed", shard_id=shard_id)

    def _expected_shards(self) -> Sequence[int]:
        return self.shard_ids or range(self.shard_count or 1)

    def _shard_of_guild(self, guild_id: str) -> int:
        return shard_of(guild_id, self.shard_count or 1)


async def run_gateway(open_gateway: Callable[[], Gateway], token: str) -> None:
    """Stay connected until cancelled. Temporary failures are logged and retried with backoff.

    Raises SettingsError for a token that Discord refuses, and StartupError where it refuses the bot for good.
    """
    failures = 0
    while True:
        gateway = open_gateway()
        try:
            async with gateway:
                await gateway.start(token)
        except discord.LoginFailure:
            raise SettingsError([_LOGIN_REFUSED]) from None
        except discord.PrivilegedIntentsRequired:
            raise StartupError(_FATAL_CLOSES[4014]) from None
        except discord.ConnectionClosed as error:
            if error.code == 4004:
                raise SettingsError([_LOGIN_REFUSED]) from None
            if error.code in _FATAL_CLOSES:
                raise StartupError(_FATAL_CLOSES[error.code]) from None
            reason = f"Discord closed the connection with {error.code}"
        except (
            discord.HTTPException,
            discord.GatewayNotFound,
            aiohttp.ClientError,
            OSError,
            TimeoutError,
        ) as error:
            reason = f"Discord cannot be reached: {str(error) or type(error).__name__}"
        else:
            reason = "Discord closed the connection"
        failures = 0 if gateway.was_connected else failures + 1
        delay_s = backoff_s(failures)
        log.warning("gateway_failed", reason=reason, retry_s=round(delay_s, 1))
        await asyncio.sleep(delay_s)


def use_api(url: str) -> None:
    """Point discord.py at the REST API at *url*; it takes the gateway's address from there."""
    Route.BASE = url
    use_draining_websocket()
    # The relay never joins voice, so the libraries for that are not missed.
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False


def _chain(name: str, ours: Sequence[_Parser], theirs: _Parser | None) -> _Parser:
    """Return a parser that runs *ours*, then *theirs*; what either raises is logged and ends there."""

    def parse(payload: Payload) -> None:
        try:
            for take in ours:
                take(payload)
        except Exception:
            log.exception("payload_not_taken", type=name, guild_id=_guild_id(payload))
        if theirs is not None:
            try:
                theirs(payload)
            except Exception as error:  # noqa: BLE001  # only its cache suffers
                log.warning("payload_not_cached", type=name, guild_id=_guild_id(payload), reason=repr(error))

    return parse


def _guild_id(payload: object) -> object:
    return payload.get("guild_id") or payload.get("id") if isinstance(payload, dict) else None


def _shard_of(payload: Payload) -> int:
    shard = payload.get("shard")
    return int(shard[0]) if isinstance(shard, list) and shard else 0
