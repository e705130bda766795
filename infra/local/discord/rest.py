"""The few REST routes that a gateway client needs, and the answers to unknown routes."""

# https://docs.discord.com/developers/events/gateway#get-gateway-bot

from collections.abc import Awaitable, Callable

from aiohttp import web

from infra.local.discord.door import Handle, build_error, build_response
from infra.local.discord.payloads import Json, build_application, build_own_user
from infra.local.discord.world import World

_DAY_MS = 86_400_000


class Rest:
    """Answers the routes that need the bot's token, and ``/gateway``.

    ``interactions_url`` is where the application has its interactions sent, ``None`` for the gateway.
    """

    def __init__(
        self,
        *,
        world: World,
        application_id: str,
        shards: int,
        max_concurrency: int,
        session_starts: int,
        gateway_url: Callable[[], str],
        identified: Callable[[], int],
    ) -> None:
        self.interactions_url: str | None = None
        self._world = world
        self._application_id = application_id
        self._shards = shards
        self._max_concurrency = max_concurrency
        self._session_starts = session_starts
        self._gateway_url = gateway_url
        self._identified = identified

    def build_handlers(self) -> dict[str, Handle]:
        return {
            "/users/@me": lambda _: build_own_user(self._world.bot),
            "/oauth2/applications/@me": lambda _: self._build_application(),
            "/applications/@me": lambda _: self._build_application(),
            "/gateway/bot": lambda _: self._build_gateway_bot(),
        }

    async def get_gateway(self, _request: web.Request) -> web.StreamResponse:
        """Answer ``/gateway``, which needs no token."""
        return build_response({"url": self._gateway_url()})

    def _build_application(self) -> Json:
        return build_application(self._application_id, self._world.bot) | {
            "interactions_endpoint_url": self.interactions_url
        }

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
async def answer_unknown_routes(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer unknown routes with Discord's 404 and 405."""
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as refused:
        return build_error(refused.status, refused.reason)
