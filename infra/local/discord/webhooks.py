"""Incoming webhooks: accept messages as Discord does, keep them, and fail on demand."""

# https://docs.discord.com/developers/resources/webhook#execute-webhook

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson
from aiohttp import web
from multidict import CIMultiDict

from infra.local.discord.door import build_response, build_throttled
from infra.local.discord.notifier import Notifier
from infra.local.discord.payloads import Json
from infra.local.discord.rate_limit import RateLimit, Window
from infra.local.discord.snowflakes import Snowflakes
from infra.local.discord.webhook_validation import check_message

# https://docs.discord.com/developers/reference#user-agent
_USER_AGENT = re.compile(r"DiscordBot \([^,()]+, [^,()]+\)")
_BLOCKED = (
    "<!DOCTYPE html><html><head><title>Access denied</title></head><body><h1>Error 1010</h1></body></html>"
)
_TRUE = ("true", "True", "1")

_UNKNOWN_WEBHOOK: Json = {"message": "Unknown Webhook", "code": 10015}
_INVALID_TOKEN: Json = {"message": "Invalid Webhook Token", "code": 50027}
_INVALID_JSON: Json = {"message": "The request body contains invalid JSON.", "code": 50109}
_WRONG_TYPE: Json = {
    "message": "Expected \"Content-Type\" header to be one of {'application/json'}.",
    "code": 50035,
}


@dataclass(frozen=True)
class PostedMessage:
    """An accepted message. ``received_at`` is in seconds since the Unix epoch; ``raw`` is the body."""

    id: str
    received_at: float
    body: Json
    raw: bytes
    headers: Mapping[str, str]
    query: Mapping[str, str]


@dataclass(frozen=True)
class Failure:
    """One scripted response. *saved*: the message is accepted anyway, as if only the response was lost.

    A *status* of ``None`` disconnects without a response.
    """

    status: int | None
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    saved: bool = False


class Webhook:
    """One webhook and everything posted to it; ``answers`` counts its responses by status.

    ``delay_s`` delays every response.
    """

    def __init__(
        self,
        *,
        id: str,  # noqa: A002
        token: str,
        name: str,
        channel_id: str,
        guild_id: str | None,
        url: str,
        limit: RateLimit | None,
    ) -> None:
        self.id = id
        self.token = token
        self.name = name
        self.channel_id = channel_id
        self.guild_id = guild_id
        self.url = url
        self.messages: list[PostedMessage] = []
        self.answers: Counter[int | None] = Counter()
        self.delay_s = 0.0
        self.window: Window | None = None
        self._script: deque[Failure] = deque()
        self.limit_to(limit)

    def limit_to(self, limit: RateLimit | None) -> None:
        """Restart the rate limit with *limit*, or remove it."""
        self.window = Window(limit) if limit else None

    def fail_next(
        self,
        times: int,
        status: int | None,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        saved: bool = False,
    ) -> None:
        """Answer the next posts with *status* and *body* (JSON, or a string as plain text)."""
        self._script.extend([Failure(status, body, headers or {}, saved)] * times)

    def throttle_next(self, times: int, retry_after_s: float, *, scope: str = "user") -> None:
        """Answer the next posts with 429, regardless of the rate limit."""
        throttled = build_throttled(retry_after_s, scope)
        self.fail_next(times, 429, throttled.body, headers=throttled.headers)

    def next_failure(self) -> Failure | None:
        return self._script.popleft() if self._script else None


class Webhooks:
    """Serves all webhooks. ``refused_agents`` counts requests with an invalid User-Agent."""

    def __init__(
        self, *, notifier: Notifier, snowflakes: Snowflakes, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self.by_id: dict[str, Webhook] = {}
        self.refused_agents = 0
        self.unknown = 0
        self._notifier = notifier
        self._snowflakes = snowflakes
        self._wall_clock = wall_clock

    def add(
        self, name: str, *, channel_id: str, guild_id: str | None, base_url: str, limit: RateLimit | None
    ) -> Webhook:
        webhook_id = self._snowflakes.make("webhook")
        token = f"standin-token-{webhook_id}".ljust(68, "_")
        url = f"{base_url}/webhooks/{webhook_id}/{token}"
        webhook = Webhook(
            id=webhook_id,
            token=token,
            name=name,
            channel_id=channel_id,
            guild_id=guild_id,
            url=url,
            limit=limit,
        )
        self.by_id[webhook_id] = webhook
        return webhook

    def build_routes(self, prefix: str) -> list[web.RouteDef]:
        path = prefix + "/webhooks/{id}/{token}"
        return [web.post(path, self._post), web.get(path, self._get)]

    def _find(self, request: web.Request) -> Webhook | web.Response:
        """Return the webhook, or the response that refuses the request without reading its body."""
        if not _USER_AGENT.match(request.headers.get("User-Agent", "")):
            self.refused_agents += 1
            return web.Response(text=_BLOCKED, status=403, content_type="text/html")
        webhook = self.by_id.get(request.match_info["id"])
        if webhook is None:
            self.unknown += 1
            return build_response(_UNKNOWN_WEBHOOK, 404)
        if request.match_info["token"] != webhook.token:
            return build_response(_INVALID_TOKEN, 401)
        return webhook

    async def _get(self, request: web.Request) -> web.StreamResponse:
        found = self._find(request)
        return found if isinstance(found, web.Response) else build_response(_build_webhook(found))

    async def _post(self, request: web.Request) -> web.StreamResponse:
        found = self._find(request)
        if isinstance(found, web.Response):
            return found
        raw = await request.read()
        if found.delay_s:
            await asyncio.sleep(found.delay_s)
        response = self._answer(found, request, raw)
        found.answers[response.status if response else None] += 1
        if response is None:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        return response

    def _answer(self, webhook: Webhook, request: web.Request, raw: bytes) -> web.Response | None:
        failure = webhook.next_failure()
        if failure is not None:
            if failure.saved:
                self._keep(webhook, request, raw, orjson.loads(raw))
            return _build_failure(failure)
        headers: dict[str, str] = {}
        if webhook.window is not None:
            grant = webhook.window.take()
            headers = grant.build_headers(bucket=webhook.id)
            if not grant.allowed:
                throttled = build_throttled(grant.reset_after_s, "user")
                return build_response(throttled.body, 429, headers | throttled.headers)
        if request.content_type != "application/json":
            return build_response(_WRONG_TYPE, 400, headers)
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return build_response(_INVALID_JSON, 400, headers)
        refused = check_message(body, with_components=request.query.get("with_components") in _TRUE)
        refused = refused or _check_query(request)
        if refused is not None:
            return build_response(refused, 400, headers)
        message = self._keep(webhook, request, raw, body)
        if request.query.get("wait") not in _TRUE:
            return web.Response(status=204, headers={"Via": "1.1 google", **headers})
        return build_response(_build_message(webhook, message), 200, headers)

    def _keep(self, webhook: Webhook, request: web.Request, raw: bytes, body: Json) -> PostedMessage:
        message = PostedMessage(
            id=self._snowflakes.make("message"),
            received_at=self._wall_clock(),
            body=body,
            raw=raw,
            headers=CIMultiDict(request.headers),
            query=dict(request.query),
        )
        webhook.messages.append(message)
        self._notifier.notify()
        return message


def _check_query(request: web.Request) -> Json | None:
    thread_id = request.query.get("thread_id")
    if thread_id is None or (thread_id.isascii() and thread_id.isdigit()):
        return None
    error = {"code": "NUMBER_TYPE_COERCE", "message": f'Value "{thread_id}" is not snowflake.'}
    return {"message": "Invalid Form Body", "code": 50035, "errors": {"thread_id": {"_errors": [error]}}}


def _build_failure(failure: Failure) -> web.Response | None:
    if failure.status is None:
        return None
    if isinstance(failure.body, str):
        return web.Response(text=failure.body, status=failure.status, headers=failure.headers)
    return build_response(failure.body, failure.status, dict(failure.headers))


def _build_webhook(webhook: Webhook) -> Json:
    return {
        "id": webhook.id,
        "type": 1,
        "name": webhook.name,
        "avatar": None,
        "channel_id": webhook.channel_id,
        "guild_id": webhook.guild_id,
        "application_id": None,
        "token": webhook.token,
        "url": webhook.url,
    }


def _build_message(webhook: Webhook, message: PostedMessage) -> Json:
    # https://docs.discord.com/developers/resources/message#message-object
    author = {"id": webhook.id, "username": message.body.get("username") or webhook.name, "avatar": None}
    return {
        "id": message.id,
        "type": 0,
        "content": message.body.get("content") or "",
        "channel_id": webhook.channel_id,
        "author": author | {"bot": True, "discriminator": "0000", "global_name": None, "public_flags": 0},
        "embeds": [{"type": "rich", **embed} for embed in message.body.get("embeds") or ()],
        "attachments": [],
        "components": [],
        "mentions": [],
        "mention_roles": [],
        "mention_everyone": False,
        "pinned": False,
        "tts": bool(message.body.get("tts")),
        "timestamp": datetime.fromtimestamp(message.received_at, UTC).isoformat(),
        "edited_timestamp": None,
        "flags": message.body.get("flags") or 0,
        "webhook_id": webhook.id,
    }
