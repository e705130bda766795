"""Assembles the stand-in and serves it on loopback."""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import web

from infra.local.discord.chat import Chat, Message
from infra.local.discord.chat_rest import ChatRest
from infra.local.discord.door import Door
from infra.local.discord.faults import Faults, FaultSettings
from infra.local.discord.gateway import Gateway, GatewaySettings
from infra.local.discord.guild_rest import GuildRest
from infra.local.discord.interaction_rest import InteractionRest
from infra.local.discord.interactions import Interactions, Press
from infra.local.discord.model import Channel, Member, User
from infra.local.discord.notifier import Notifier
from infra.local.discord.rate_limit import RateLimit
from infra.local.discord.rest import Rest, answer_unknown_routes
from infra.local.discord.session import Sessions
from infra.local.discord.snowflakes import Snowflakes
from infra.local.discord.transitions import Reach, TransitionLog
from infra.local.discord.webhooks import PostedMessage, Webhook, Webhooks
from infra.local.discord.world import World

_HOST = "127.0.0.1"


class _Listener:
    """A port that can be closed and reopened without dropping its connections."""

    def __init__(self, protocol: Callable[[], asyncio.Protocol]) -> None:
        self.port = 0
        self._protocol = protocol
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._protocol, _HOST, self.port, reuse_address=True)
            self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


class StandIn:
    """Simulates Discord for a bot that watches voice channels, in tests, the demo and the benchmark.

    Serves inside ``async with``. ``/gateway/bot`` advertises *shards*, *max_concurrency* and what is left of
    *session_starts*, the IDENTIFYs of a day. A session keeps *replay_limit* events for a RESUME and outlives
    its connection by *session_ttl_s*. A *webhook_limit* of ``None`` accepts every post. *log_limit* bounds
    ``sent``. *clock* returns seconds since the Unix epoch, and decides what comes too late.
    """

    def __init__(
        self,
        *,
        token: str = "stand-in",  # noqa: S107  # not a secret: valid only here
        shards: int = 1,
        max_concurrency: int = 1,
        identify_window_s: float = 0.0,
        sharding_required: int = 1,
        session_starts: int = 1000,
        granted_intents: int = 0,
        heartbeat_interval_s: float = 41.25,
        replay_limit: int = 25_000,
        session_ttl_s: float = 120.0,
        webhook_limit: RateLimit | None = RateLimit(),  # noqa: B008  # frozen
        log_limit: int | None = None,
        seed: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.token = token
        self.shards = shards
        self._notifier = Notifier()
        self._webhook_limit = webhook_limit
        self._snowflakes = Snowflakes(seed)
        self.sent = TransitionLog(log_limit)
        self._sessions = Sessions(notifier=self._notifier, replay_limit=replay_limit, ttl_s=session_ttl_s)
        self.world = World(publisher=self._sessions, log=self.sent, snowflakes=self._snowflakes, clock=clock)
        settings = GatewaySettings(
            token=token,
            application_id=self._snowflakes.make("application"),
            heartbeat_interval_s=heartbeat_interval_s,
            granted_intents=granted_intents,
            max_concurrency=max_concurrency,
            identify_window_s=identify_window_s,
            sharding_required=sharding_required,
            session_starts=session_starts,
        )
        self.application_id = settings.application_id
        self._fault_settings = FaultSettings()
        self._gateway = self._build_gateway(settings)
        self.rest = self._build_rest(settings)
        self.door = Door(token=token, fault_settings=self._fault_settings, clock=clock)
        self.chat = Chat(snowflakes=self._snowflakes, notifier=self._notifier, clock=clock)
        self.interactions = Interactions(
            world=self.world,
            chat=self.chat,
            sessions=self._sessions,
            application_id=settings.application_id,
            snowflakes=self._snowflakes,
            notifier=self._notifier,
            clock=clock,
        )
        self.webhooks = Webhooks(notifier=self._notifier, snowflakes=self._snowflakes)
        self._runner = web.AppRunner(
            self._build_app(), handle_signals=False, access_log=None, shutdown_timeout=1
        )
        self._rest_port = _Listener(self._make_protocol)
        self._gateway_port = _Listener(self._make_protocol)
        self.faults = Faults(
            sessions=self._sessions,
            fault_settings=self._fault_settings,
            stop_listening=self._gateway_port.close,
            start_listening=self._gateway_port.open,
        )

    def _build_gateway(self, settings: GatewaySettings) -> Gateway:
        return Gateway(
            world=self.world,
            sessions=self._sessions,
            settings=settings,
            fault_settings=self._fault_settings,
            notifier=self._notifier,
            url=lambda: self.gateway_url,
        )

    def _build_rest(self, settings: GatewaySettings) -> Rest:
        return Rest(
            world=self.world,
            application_id=settings.application_id,
            shards=self.shards,
            max_concurrency=settings.max_concurrency,
            gateway_url=lambda: self.gateway_url,
            session_starts=settings.session_starts,
            identified=lambda: self._sessions.counts["identify"],
        )

    def _build_app(self) -> web.Application:
        app = web.Application(middlewares=[answer_unknown_routes])
        handlers = self.rest.build_handlers() | GuildRest(self.world).build_handlers()
        handlers |= ChatRest(self.world, self.chat).build_handlers()
        answers = InteractionRest(
            world=self.world,
            chat=self.chat,
            interactions=self.interactions,
            application_id=self.application_id,
        ).build_handlers()
        for prefix in ("/api/v10", "/api"):
            app.add_routes([web.get(prefix + "/gateway", self.rest.get_gateway)])
            app.add_routes(self.door.build_routes(prefix, handlers))
            app.add_routes(self.door.build_routes(prefix, answers, with_token=True))
            app.add_routes(self.webhooks.build_routes(prefix))
        app.add_routes([web.get("/gateway", self._gateway.handle)])
        return app

    def _make_protocol(self) -> asyncio.Protocol:
        server = self._runner.server
        if server is None:
            raise RuntimeError("the stand-in is not serving")
        return server()

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await self._rest_port.open()
        await self._gateway_port.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._gateway_port.close()
        await self._rest_port.close()
        await self._gateway.stop()
        await self._runner.cleanup()

    @property
    def base_url(self) -> str:
        return f"http://{_HOST}:{self._rest_port.port}/api"

    @property
    def api_url(self) -> str:
        return f"{self.base_url}/v10"

    @property
    def gateway_url(self) -> str:
        """The gateway's URL; it has its own port, so that it alone can refuse connections."""
        return f"ws://{_HOST}:{self._gateway_port.port}/gateway"

    @property
    def counts(self) -> dict[str, int]:
        """Counts of connections, identifies, resumes, refusals and requests per REST route."""
        return dict(self._sessions.counts) | dict(self.door.counts)

    @property
    def live_sessions(self) -> int:
        """The number of sessions with a connection."""
        return sum(session.wire is not None for session in self._sessions)

    def add_webhook(self, name: str, channel: Channel | None = None) -> Webhook:
        """Add a webhook of *channel*, else of one that is unknown here."""
        return self.webhooks.add(
            name,
            channel_id=channel.id if channel else self._snowflakes.make("channel"),
            guild_id=self.world.guild_of(channel) if channel else None,
            base_url=self.base_url,
            limit=self._webhook_limit,
        )

    async def press(
        self, who: Member | User, message: Message, label: str, timeout_s: float | None = None
    ) -> Press:
        """Let *who* press a button; with *timeout_s*, wait for the answer that they see.

        It is not waited for without a *timeout_s*: see ``Press.shown``.
        """
        press = self.interactions.press(who, message, label)
        await self._sessions.wait_for_room()
        if timeout_s is not None:
            await self.interactions.wait_answered(press, timeout_s)
        return press

    async def dispatch(self, event: str, data: dict[str, Any]) -> Reach:
        """Send an arbitrary event to every session of any shard, without changing the world."""
        reach = self._sessions.publish(None, event, orjson.dumps(data))
        await self._sessions.wait_for_room()
        return reach

    async def wait_connected(self, timeout_s: float) -> None:
        """Wait until every shard has a client that has been sent everything."""
        wanted = set(range(self.shards))
        await self.wait_until(
            lambda: wanted <= self._sessions.connected_shards(), timeout_s, "every shard connected"
        )

    async def wait_disconnected(self, timeout_s: float) -> None:
        await self.wait_until(lambda: not self._gateway.connections, timeout_s, "every client gone")

    async def wait_for_messages(
        self, predicate: Callable[[list[PostedMessage]], bool], timeout_s: float
    ) -> list[PostedMessage]:
        """Wait until *predicate* holds for all webhooks' messages; return them in order of arrival."""
        await self.wait_until(lambda: predicate(self.messages), timeout_s, "the messages expected")
        return self.messages

    @property
    def messages(self) -> list[PostedMessage]:
        posted = [message for webhook in self.webhooks.by_id.values() for message in webhook.messages]
        return sorted(posted, key=lambda message: int(message.id))

    async def wait_until(self, predicate: Callable[[], bool], timeout_s: float, what: str = "it") -> None:
        """Wait until *predicate* holds; it is checked whenever a connection or a message changes."""
        await self._notifier.wait_for(predicate, timeout_s, what)
