"""The server side of the gateway protocol: HELLO, IDENTIFY, RESUME, heartbeats and close codes."""

# https://docs.discord.com/developers/events/gateway
# https://docs.discord.com/developers/topics/opcodes-and-status-codes#gateway

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from infra.local.discord.compression import COMPRESSIONS
from infra.local.discord.connection import Connection
from infra.local.discord.faults import FaultSettings
from infra.local.discord.notifier import Notifier
from infra.local.discord.payloads import build_own_user
from infra.local.discord.session import Session, Sessions
from infra.local.discord.world import World

_KNOWN_INTENTS = (1 << 17) - 1 | 1 << 20 | 1 << 21 | 1 << 24 | 1 << 25
_PRIVILEGED_INTENTS = 1 << 1 | 1 << 8 | 1 << 15
_CLIENT_FRAME_BYTES = 4096
_CLIENT_FRAMES, _CLIENT_FRAMES_PER_S = 120, 60.0

_INVALID_SESSION, _HELLO, _HEARTBEAT_ACK = 9, 10, 11


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """``identify_window_s`` is 5 at Discord; 0 turns the IDENTIFY rate limit off.

    ``sharding_required`` is the minimum number of shards, ``session_starts`` the number of IDENTIFYs a day.
    """

    token: str
    application_id: str
    heartbeat_interval_s: float = 41.25
    granted_intents: int = 0
    max_concurrency: int = 1
    identify_window_s: float = 0.0
    sharding_required: int = 1
    session_starts: int = 1000


class _Refused(Exception):
    """Close the client's connection with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Gateway:
    def __init__(
        self,
        *,
        world: World,
        sessions: Sessions,
        settings: GatewaySettings,
        fault_settings: FaultSettings,
        notifier: Notifier,
        url: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.world = world
        self.sessions = sessions
        self.settings = settings
        self.fault_settings = fault_settings
        self.notifier = notifier
        self.url = url
        self.clock = clock
        self.connections: set[Connection] = set()
        self.identified_at: dict[int, float] = {}
        self._loading: set[asyncio.Task[None]] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.fault_settings.upgrade_failures:
            return web.Response(status=self.fault_settings.upgrade_failures.popleft())
        # Discord does not offer permessage-deflate, which would compress twice.
        ws = web.WebSocketResponse(timeout=2.0, compress=False, max_msg_size=1 << 20, writer_limit=1 << 15)
        await ws.prepare(request)
        transport = request.transport
        if transport is None:
            return ws
        open_context = COMPRESSIONS.get(request.query.get("compress", ""))
        connection = Connection(ws, transport, open_context() if open_context else None, self.notifier.notify)
        self.connections.add(connection)
        self.sessions.count("connected")
        try:
            if self.fault_settings.silent_upgrades:
                self.fault_settings.silent_upgrades -= 1
                await ws.receive()
                return ws
            await _ClientHandler(self, connection, ws).run(request.query)
        except ConnectionError:
            pass  # The client disconnected during a reply; its session stays resumable.
        finally:
            self.connections.discard(connection)
            await connection.stop()
        return ws

    def load(self, session: Session) -> None:
        """Send the session its guilds, each with its state at that moment."""
        task = asyncio.create_task(self._load(session), name="standin-guild-loader")
        self._loading.add(task)
        task.add_done_callback(self._loading.discard)

    async def _load(self, session: Session) -> None:
        for guild in self.world.guilds_of_shard(session.shard_id, session.shard_count):
            if self.fault_settings.guild_delay_s:
                await asyncio.sleep(self.fault_settings.guild_delay_s)
            if guild.id in session.missing:
                session.missing.discard(guild.id)
                session.dispatch("GUILD_CREATE", guild.build_snapshot())
                await self.sessions.wait_for_room()
        self.notifier.notify()

    async def stop(self) -> None:
        for task in list(self._loading):
            task.cancel()
        await asyncio.gather(*self._loading, return_exceptions=True)
        for connection in list(self.connections):
            connection.abort()


class _ClientHandler:
    """Handles the frames of one client connection."""

    def __init__(self, gateway: Gateway, connection: Connection, ws: web.WebSocketResponse) -> None:
        self._gateway = gateway
        self._settings = gateway.settings
        self._sessions = gateway.sessions
        self._connection = connection
        self._ws = ws
        self._session: Session | None = None
        self._received: deque[float] = deque(maxlen=_CLIENT_FRAMES)
        self._handlers: dict[int, Callable[[Any], Awaitable[None]]] = {
            1: self._on_heartbeat,
            2: self._on_identify,
            3: self._on_ignored,  # presence update
            4: self._on_ignored,  # voice state update
            6: self._on_resume,
            8: self._on_ignored,  # request guild members
        }

    async def run(self, query: Any) -> None:
        try:
            await self._serve(query)
        except _Refused as refused:
            self._sessions.count(f"refused_{refused.code}")
            await self._connection.close(refused.code, refused.reason)
        finally:
            self._detach()

    async def _serve(self, query: Any) -> None:
        if query.get("v") != "10":
            raise _Refused(4012, "Invalid API version.")
        compress = query.get("compress")
        if query.get("encoding", "json") != "json" or compress not in (None, *COMPRESSIONS):
            raise _Refused(4002, "Only JSON, with zlib-stream or zstd-stream, is supported.")
        hello = {"heartbeat_interval": round(self._settings.heartbeat_interval_s * 1000), "_trace": []}
        await self._connection.send(_HELLO, hello)
        async for message in self._ws:
            op, data = self._parse(message.data, message.type)
            await self._handlers.get(op, self._on_unknown)(data)

    def _parse(self, text: Any, kind: WSMsgType) -> tuple[int, Any]:
        now = self._gateway.clock()
        if len(self._received) == _CLIENT_FRAMES and now - self._received[0] < _CLIENT_FRAMES_PER_S:
            raise _Refused(4008, "You are being rate limited.")
        self._received.append(now)
        if kind not in (WSMsgType.TEXT, WSMsgType.BINARY) or len(text) > _CLIENT_FRAME_BYTES:
            raise _Refused(4002, "Error while decoding payload.")
        try:
            payload = orjson.loads(text)
            return int(payload["op"]), payload.get("d")
        except (ValueError, TypeError, KeyError, AttributeError):
            raise _Refused(4002, "Error while decoding payload.") from None

    async def _on_heartbeat(self, _seq: Any) -> None:
        self._sessions.count("heartbeat")
        if self._gateway.fault_settings.acks:
            await self._connection.send(_HEARTBEAT_ACK)

    async def _on_identify(self, data: Any) -> None:
        self._check_is_new()
        shard, intents = self._check_identify(data)
        self._check_budget()
        if not self._may_identify(shard[0]):
            await self._connection.send(_INVALID_SESSION, False)
            return
        session = self._session = self._sessions.open(shard=shard, intents=intents)
        guilds = self._gateway.world.guilds_of_shard(*shard)
        session.missing = {guild.id for guild in guilds if guild.available}
        self._sessions.attach(session, self._connection)
        session.dispatch("READY", orjson.dumps(self._build_ready(session, [guild.id for guild in guilds])))
        self._gateway.load(session)

    def _check_identify(self, data: Any) -> tuple[tuple[int, int], int]:
        if not isinstance(data, dict) or "properties" not in data:
            raise _Refused(4002, "Error while decoding payload.")
        if data.get("token", "").removeprefix("Bot ") != self._settings.token:
            raise _Refused(4004, "Authentication failed.")
        intents = data.get("intents")
        if not isinstance(intents, int) or intents < 0 or intents & ~_KNOWN_INTENTS:
            raise _Refused(4013, "Invalid intent(s).")
        if intents & _PRIVILEGED_INTENTS & ~self._settings.granted_intents:
            raise _Refused(4014, "Disallowed intent(s).")
        match data.get("shard", [0, 1]):
            case [int(shard_id), int(shard_count)] if 0 <= shard_id < shard_count:
                pass
            case _:
                raise _Refused(4010, "Invalid shard.")
        if shard_count < self._settings.sharding_required:
            raise _Refused(4011, "Sharding required.")
        return (shard_id, shard_count), intents

    def _check_budget(self) -> None:
        """Over the day's limit Discord ends all sessions and resets the token."""
        self._sessions.count("identify")
        if self._sessions.counts["identify"] > self._settings.session_starts:
            for session in self._sessions:
                self._sessions.end(session)
            raise _Refused(4004, "Authentication failed: the token was reset.")

    def _may_identify(self, shard_id: int) -> bool:
        refusals = self._gateway.fault_settings.identify_refusals
        if refusals:
            if (code := refusals.popleft()) == _INVALID_SESSION:
                return False
            raise _Refused(code, "scripted refusal")
        # https://docs.discord.com/developers/events/gateway#sharding-max-concurrency
        key = shard_id % self._settings.max_concurrency
        now, before = self._gateway.clock(), self._gateway.identified_at.get(key)
        if before is not None and now - before < self._settings.identify_window_s:
            return False
        self._gateway.identified_at[key] = now
        return True

    def _build_ready(self, session: Session, guild_ids: list[str]) -> dict[str, Any]:
        return {
            "v": 10,
            "user": build_own_user(self._gateway.world.bot),
            "user_settings": {},
            "session_type": "normal",
            "session_id": session.id,
            "resume_gateway_url": self._gateway.url(),
            "guilds": [{"id": guild_id, "unavailable": True} for guild_id in guild_ids],
            "shard": [session.shard_id, session.shard_count],
            "application": {"id": self._settings.application_id, "flags": 0},
            "private_channels": [],
            "presences": [],
            "relationships": [],
            "guild_join_requests": [],
            "geo_ordered_rtc_regions": ["rotterdam"],
            "_trace": [],
        }

    async def _on_resume(self, data: Any) -> None:
        self._check_is_new()
        match data:
            case {"token": str(token), "session_id": str(session_id), "seq": int(seq)}:
                pass
            case _:
                raise _Refused(4002, "Error while decoding payload.")
        if token.removeprefix("Bot ") != self._settings.token:
            raise _Refused(4004, "Authentication failed.")
        session = self._sessions.find(session_id)
        if session is not None and seq > session.seq:
            self._sessions.end(session)
            raise _Refused(4007, "Invalid sequence.")
        if session is None or not session.can_resume(seq):
            self._sessions.count("resume_refused")
            if session is not None:
                self._sessions.end(session)
            await self._connection.send(_INVALID_SESSION, False)
            return
        self._session = session
        self._sessions.count("resumed")
        for frame in session.after(seq):
            self._connection.enqueue(frame)
        self._sessions.attach(session, self._connection)
        session.dispatch("RESUMED", b'{"_trace":[]}')

    def _check_is_new(self) -> None:
        # After op 9 the session is gone, and the connection may start another.
        if self._session is not None and self._sessions.holds(self._session):
            raise _Refused(4005, "Already authenticated.")

    async def _on_ignored(self, _data: Any) -> None:
        if self._session is None:
            raise _Refused(4003, "Not authenticated.")

    async def _on_unknown(self, _data: Any) -> None:
        raise _Refused(4001, "Unknown opcode.")

    def _detach(self) -> None:
        """Detach the session; a client that closes with 1000 or 1001 ends it, any other may resume."""
        session = self._session
        if session is None:
            return
        self._sessions.detach(session, self._connection)
        if not self._connection.closed_here and self._ws.close_code in (1000, 1001):
            self._sessions.end(session)
