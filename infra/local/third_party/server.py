"""The stand-in's HTTP server.

``POST /login`` takes a user name and a password, ``POST /oauth/token`` client credentials; both give a token.
``POST /api/events`` needs a token, the API key or basic authentication; ``POST /hooks/events`` needs nothing.
Both remember what they were told. A repeated Idempotency-Key gets the first answer again and has no effect;
with another body it is refused.
"""

# https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from infra.local.third_party.accounts import Accounts

_EXPIRES_IN_S = 3600


@dataclass(frozen=True)
class Received:
    """A request for one of the two routes for events, and the status that answered it."""

    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    status: int


@dataclass(frozen=True)
class _Answer:
    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0


class ThirdParty:
    """Use in ``async with``; it listens on a loopback port that the system picks.

    ``told`` is what had an effect: one entry for each idempotency key; ``repeats`` counts the requests that
    had none. ``honours_range`` answers 206 to a request with a Range header, as some servers do.
    """

    def __init__(self) -> None:
        self.accounts = Accounts()
        self.received: list[Received] = []
        self.told: dict[str, Any] = {}
        self.repeats = 0
        self.honours_range = False
        self._news = asyncio.Event()
        self._scripted: deque[_Answer] = deque()
        self._delays: deque[float] = deque()
        self._logins: deque[_Answer] = deque()
        self._bodies: dict[str, str] = {}
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def statuses(self) -> list[int]:
        """The statuses that answered the requests for events, in order."""
        return [request.status for request in self.received]

    def answer_next(
        self,
        status: int,
        body: Any = None,
        *,
        times: int = 1,
        headers: Mapping[str, str] | None = None,
        delay_s: float = 0.0,
    ) -> None:
        """Answer the next *times* requests for events like this instead, after *delay_s*."""
        self._scripted.extend([_Answer(status, body, headers or {}, delay_s)] * times)

    async def wait_told(self, count: int, timeout_s: float = 30.0) -> list[Any]:
        """Wait until so many events had an effect, and return the bodies in order; raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while len(self.told) < count:
                self._news.clear()
                await self._news.wait()
        return [*self.told.values()]

    def delay_next(self, delay_s: float) -> None:
        """Take the next request for events as usual, and answer it only after *delay_s*."""
        self._delays.append(delay_s)

    def throttle_next(self, times: int, retry_after_s: int) -> None:
        """Answer the next *times* requests for events with 429."""
        self.answer_next(
            429, {"error": "too many requests"}, times=times, headers={"Retry-After": str(retry_after_s)}
        )

    def fail_login_next(self, status: int, body: Any = None, *, times: int = 1, delay_s: float = 0.0) -> None:
        """Answer the next *times* logins like this instead; a *status* of 200 only delays them."""
        self._logins.extend([_Answer(status, body, {}, delay_s)] * times)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/login", self._log_in)
        app.router.add_post("/oauth/token", self._grant)
        app.router.add_post("/api/events", self._take_events)
        app.router.add_post("/hooks/events", self._take_events)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        # The same port after a restart, so that an API that was down can come back.
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _log_in(self, request: web.Request) -> web.Response:
        if self._logins:
            scripted = self._logins.popleft()
            await asyncio.sleep(scripted.delay_s)
            if scripted.status != 200:
                return _respond(scripted)
        given = await request.json()
        token = self.accounts.log_in(given.get("username"), given.get("password"))
        if token is None:
            return _respond(_Answer(401, {"error": "wrong user name or password"}))
        return _respond(_Answer(200, {"access_token": token, "expires_in": _EXPIRES_IN_S}))

    async def _grant(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("grant_type") != "client_credentials":
            return _respond(_Answer(400, {"error": "unsupported_grant_type"}))
        token = self.accounts.grant(form.get("client_id"), form.get("client_secret"))
        if token is None:
            return _respond(_Answer(401, {"error": "invalid_client"}))
        granted = {"access_token": token, "token_type": "Bearer", "expires_in": _EXPIRES_IN_S}
        return _respond(_Answer(200, granted))

    async def _take_events(self, request: web.Request) -> web.Response:
        text = await request.text()
        answer = self._decide(request, text)
        late_s = self._delays.popleft() if self._delays else 0.0
        await asyncio.sleep(answer.delay_s + late_s)
        self.received.append(
            Received(
                request.path, dict(request.headers), dict(request.query), json.loads(text), answer.status
            )
        )
        return _respond(answer)

    def _decide(self, request: web.Request, text: str) -> _Answer:
        if request.path.startswith("/api/") and not self.accounts.admits(request.headers):
            return _Answer(401, {"error": "invalid or expired credentials"}, {"WWW-Authenticate": "Bearer"})
        if self._scripted:
            return self._scripted.popleft()
        status = 206 if self.honours_range and "Range" in request.headers else 200
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return _Answer(status, {"accepted": True})
        digest = hashlib.sha256(text.encode()).hexdigest()
        if self._bodies.setdefault(key, digest) != digest:
            return _Answer(422, {"error": "this idempotency key came with another body"})
        replayed = {"Idempotent-Replayed": "true"} if key in self.told else {}
        self.repeats += len(replayed)
        self.told.setdefault(key, json.loads(text))
        self._news.set()
        return _Answer(status, {"accepted": True}, replayed)


def _respond(answer: _Answer) -> web.Response:
    headers = dict(answer.headers)
    if isinstance(answer.body, str):
        return web.Response(status=answer.status, text=answer.body, headers=headers)
    return web.json_response(answer.body, status=answer.status, headers=headers)
