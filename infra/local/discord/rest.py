"""The few REST routes that a gateway client needs, and Discord's error responses."""

# https://docs.discord.com/developers/events/gateway#get-gateway-bot

from collections import Counter
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from infra.local.discord.faults import FaultSettings
from infra.local.discord.payloads import Json, build_application, build_own_user
from infra.local.discord.world import World

_DAY_MS = 86_400_000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_response(body: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Build a JSON response without a charset in its type, because discord.py parses no other."""
    # Without Via, discord.py takes a 429 for a ban by the proxy in front of Discord.
    return web.Response(
        body=orjson.dumps(body),
        status=status,
        content_type="application/json",
        headers={"Via": "1.1 google", **(headers or {})},
    )


def build_error(status: int, reason: str) -> web.Response:
    return build_response({"message": f"{status}: {reason}", "code": 0}, status)


class Rest:
    """Serves the routes that need the bot's token, and ``/gateway``."""

    def __init__(
        self,
        *,
        token: str,
        world: World,
        application_id: str,
        shards: int,
        max_concurrency: int,
        session_starts: int,
        gateway_url: Callable[[], str],
        identified: Callable[[], int],
        fault_settings: FaultSettings,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._token = token
        self._world = world
        self._application_id = application_id
        self._shards = shards
        self._max_concurrency = max_concurrency
        self._session_starts = session_starts
        self._gateway_url = gateway_url
        self._identified = identified
        self._fault_settings = fault_settings

    def build_routes(self, prefix: str) -> list[web.RouteDef]:
        routes: dict[str, Callable[[], Json]] = {
            "/users/@me": lambda: build_own_user(self._world.bot),
            "/oauth2/applications/@me": lambda: build_application(self._application_id, self._world.bot),
            "/gateway/bot": self._build_gateway_bot,
        }
        guarded = [web.get(prefix + path, self._guard(path, build)) for path, build in routes.items()]
        return [*guarded, web.get(prefix + "/gateway", self._get_gateway)]

    def _guard(self, path: str, build: Callable[[], Json]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.counts[path] += 1
            if self._fault_settings.rest_failures:
                status = self._fault_settings.rest_failures.popleft()
                return build_error(status, "scripted failure")
            if request.headers.get("Authorization") != f"Bot {self._token}":
                return build_error(401, "Unauthorized")
            return build_response(build())

        return handle

    async def _get_gateway(self, _request: web.Request) -> web.StreamResponse:
        return build_response({"url": self._gateway_url()})

    def _build_gateway_bot(self) -> Json:
        return {
            "url": self._gateway_url(),
            "shards": self._shards,
            "session_start_limit": {
                "total": self._session_starts,
                "remaining": max(0, self._session_starts - self._identified()),
                "reset_after": _DAY_MS,
                "max_concurrency": self._max_concurrency,
            },
        }


@web.middleware
async def answer_unknown_routes(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer unknown routes with Discord's 404 and 405."""
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as refused:
        return build_error(refused.status, refused.reason)
