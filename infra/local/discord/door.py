"""What every route of the REST API has in common: the bot's token, rate limits, refusals and faults.

A route is named by its method and its path, such as ``PATCH /guilds/{guild}/members/{user}``; a GET by its
path alone. ``counts`` counts the requests of each, and ``calls`` keeps all but the GETs.
"""

import asyncio
import inspect
import math
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import orjson
from aiohttp import web

from infra.local.discord.faults import FaultSettings, RouteFault
from infra.local.discord.rate_limit import Grant, RateLimit, Window
from infra.local.discord.refusal import Refused, refuse, refuse_form

_REASON_LENGTH = 512

DEFAULT_LIMITS: Mapping[str, RateLimit] = {
    "POST /channels/{channel}/messages": RateLimit(5, 5.0),
    "PATCH /channels/{channel}/messages/{message}": RateLimit(5, 5.0),
    "DELETE /channels/{channel}/messages/{message}": RateLimit(5, 1.0),
    "PATCH /guilds/{guild}/members/{user}": RateLimit(10, 10.0),
    "PUT /guilds/{guild}/members/{user}/roles/{role}": RateLimit(10, 10.0),
    "DELETE /guilds/{guild}/members/{user}/roles/{role}": RateLimit(10, 10.0),
    "POST /users/@me/channels": RateLimit(10, 10.0),
}
"""Limits that bots have met; Discord documents none and wants them read from the headers."""

# https://docs.discord.com/developers/topics/rate-limits#global-rate-limit
GLOBAL_LIMIT = RateLimit(50, 1.0)


@dataclass(frozen=True)
class Call:
    """A request that has come through the door. ``reason`` is for the audit log; ``at`` is a Unix time."""

    route: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    reason: str | None
    at: float


Handle = Callable[[Call], object]
"""Answers a call with what becomes JSON, or an awaitable of it, ``None`` for 204; raises Refused."""


def build_response(body: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Build a JSON response without a charset in its type, because discord.py parses no other."""
    # Without Via, discord.py takes a 429 for a ban by the proxy in front of Discord.
    headers = {"Via": "1.1 google", **(headers or {})}
    if body is None:
        return web.Response(status=204, headers=headers)
    return web.Response(
        body=orjson.dumps(body), status=status, content_type="application/json", headers=headers
    )


def build_error(status: int, reason: str) -> web.Response:
    return build_response({"message": f"{status}: {reason}", "code": 0}, status)


def build_throttled(retry_after_s: float, scope: str, code: int | None = None) -> Refused:
    # https://docs.discord.com/developers/topics/rate-limits#exceeding-a-rate-limit
    body: dict[str, Any] = {
        "message": "You are being rate limited.",
        "retry_after": retry_after_s,
        "global": scope == "global",
    }
    headers = {"Retry-After": str(math.ceil(retry_after_s)), "X-RateLimit-Scope": scope}
    if scope == "global":
        headers["X-RateLimit-Global"] = "true"
    return Refused(429, body | ({} if code is None else {"code": code}), headers)


class Door:
    """Lets requests through to their handlers. ``limits`` may be changed at any time."""

    def __init__(
        self, *, token: str, fault_settings: FaultSettings, clock: Callable[[], float] = time.time
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.calls: list[Call] = []
        self.limits: dict[str, RateLimit] = dict(DEFAULT_LIMITS)
        self._token = token
        self._fault_settings = fault_settings
        self._clock = clock
        self._windows: dict[tuple[str, str, RateLimit], Window] = {}
        self._global = Window(GLOBAL_LIMIT)

    def build_routes(
        self, prefix: str, handlers: Mapping[str, Handle], *, with_token: bool = False
    ) -> list[web.RouteDef]:
        """Serve *handlers*, by route; *with_token*: a token in the path stands for the bot's."""
        defs = []
        for route, handle in handlers.items():
            method, _, path = route.rpartition(" ")
            defs.append(
                web.route(method or "GET", prefix + path, self._guard(route, handle, with_token=with_token))
            )
        return defs

    def _guard(
        self, route: str, handle: Handle, *, with_token: bool
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def respond(request: web.Request) -> web.StreamResponse:
            self.counts[route] += 1
            if self._fault_settings.rest_failures:
                return build_error(self._fault_settings.rest_failures.popleft(), "scripted failure")
            headers: dict[str, str] = {}
            fault = self._fault_settings.next_route_fault(route)
            if fault is not None and not fault.done:
                failure = await _fail(request, fault)
                if failure is not None:
                    return failure
            try:
                if not with_token:
                    self._check_token(request)
                    headers = self._take(route, request)
                call = await self._read(route, request)
                answer = handle(call)
                body = await answer if inspect.isawaitable(answer) else answer
                response = build_response(body, headers=headers)
            except Refused as refused:
                response = build_response(refused.body, refused.status, headers | refused.headers)
            if fault is not None and fault.done:
                return await _fail(request, fault) or response
            return response

        return respond

    def _check_token(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != f"Bot {self._token}":
            raise Refused(401, {"message": "401: Unauthorized", "code": 0})

    def _take(self, route: str, request: web.Request) -> dict[str, str]:
        """Count the request against its limits; return the headers that say how much is left."""
        overall = self._global.take()
        if not overall.allowed:
            raise build_throttled(overall.reset_after_s, "global")
        limit = self.limits.get(route)
        if limit is None:
            return {}
        # The guild or channel in the path has a limit of its own.
        major = next(iter(request.match_info.values()), "")
        window = self._windows.setdefault((route, major, limit), Window(limit))
        return self._allow(window.take(), f"{zlib.crc32(route.encode()):08x}:{major}")

    def _allow(self, grant: Grant, bucket: str) -> dict[str, str]:
        headers = grant.build_headers(bucket)
        if not grant.allowed:
            refused = build_throttled(grant.reset_after_s, "user")
            raise Refused(refused.status, refused.body, headers | refused.headers)
        return headers

    async def _read(self, route: str, request: web.Request) -> Call:
        raw = await request.read()
        try:
            body = orjson.loads(raw) if raw else None
        except orjson.JSONDecodeError:
            raise refuse(50109) from None
        reason = request.headers.get("X-Audit-Log-Reason")
        if reason is not None:
            # https://docs.discord.com/developers/resources/audit-log: 1 to 512 URL-encoded characters
            reason = unquote(reason)
            if not 1 <= len(reason) <= _REASON_LENGTH:
                raise refuse_form("reason", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 512 in length.")
        call = Call(route, dict(request.match_info), dict(request.query), body, reason, self._clock())
        if " " in route:
            self.calls.append(call)
        return call


async def _fail(request: web.Request, fault: RouteFault) -> web.Response | None:
    """Wait and fail as scripted; ``None`` where the route's own answer is given after the wait."""
    fault.reached.set()
    await fault.go_on.wait()
    if fault.delay_s:
        await asyncio.sleep(fault.delay_s)
    if fault.drop:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)
    return None if fault.status is None else build_error(fault.status, "scripted failure")
