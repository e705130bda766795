"""Sends an action's requests to Discord's REST API, and waits out what passes.

discord.py's own client is not used, because it sleeps for as long as an answer tells it to. Here each action
has a time, and what would last longer is refused with a name. Every request may be sent twice: where that
would do something twice, it carries a nonce.
"""

# https://docs.discord.com/developers/reference

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self
from urllib.parse import quote as percent_encode

import aiohttp
import orjson
from pydantic import SecretStr

from bot.actions.rate_limits import RateLimits, route_of
from bot.actions.refusal import RATE_LIMITED, UNAVAILABLE, ActionError, explain_answer, not_discord
from bot.api.client import explain_failure
from bot.api.exchange import read_body
from bot.api.quote import quote
from bot.api.webhook import USER_AGENT
from bot.backoff import backoff_s

_ANSWER_S: Final = 15.0
_ANSWER_MAX_BYTES: Final = 1 << 20
_BACKOFF_CAP_S: Final = 10.0
_REASON_MAX_CHARS: Final = 512


class RestAnswer(NamedTuple):
    """What came back; ``content`` is the body as JSON, ``None`` for anything else."""

    status: int
    headers: Mapping[str, str]
    content: object


class Rest:
    """Asks the API at *base_url* with *token*, within ``async with``."""

    def __init__(self, base_url: str, token: SecretStr) -> None:
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._limits = RateLimits()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=_ANSWER_S),
            headers={
                "User-Agent": USER_AGENT,
                "Authorization": f"Bot {self._token.get_secret_value().strip()}",
            },
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        until_s: float,
        reason: str | None = None,
    ) -> dict[str, Any]:
        """Return Discord's answer, an object; raises ActionError.

        *until_s* is the loop's time at which the last attempt may begin; *reason* is for the audit log.
        """
        route, failures = route_of(method, path), 0
        while True:
            await self._wait_turn(route, until_s)
            try:
                answer = await self._send(method, path, body, reason)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                trouble = f"Discord cannot be reached: {_explain(error)}"
            else:
                self._limits.note(route, answer.status, answer.headers, answer.content, _now_s())
                if answer.status == 429:
                    continue
                if answer.status < 500:
                    return _read(answer)
                trouble = f"Discord answered {answer.status}"
            delay_s = backoff_s(failures, cap_s=_BACKOFF_CAP_S)
            failures += 1
            if _now_s() + delay_s >= until_s:
                raise ActionError(UNAVAILABLE, f"{trouble}, {failures} times")
            await asyncio.sleep(delay_s)

    async def _wait_turn(self, route: str, until_s: float) -> None:
        while wait_s := self._limits.wait_s(route, _now_s()):
            if _now_s() + wait_s >= until_s:
                raise ActionError(RATE_LIMITED, f"Discord asks for a wait of {wait_s:.0f} s")
            await asyncio.sleep(wait_s)

    async def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, reason: str | None
    ) -> RestAnswer:
        if self._session is None:
            raise RuntimeError("the REST client is not open")
        headers = {} if body is None else {"Content-Type": "application/json"}
        if reason:
            headers["X-Audit-Log-Reason"] = percent_encode(reason[:_REASON_MAX_CHARS], safe=" ")
        data = None if body is None else orjson.dumps(body)
        # Not redirected: the token would go to another host.
        async with self._session.request(
            method, self._base_url + path, data=data, headers=headers, allow_redirects=False
        ) as response:
            content = await read_body(response.content, _ANSWER_MAX_BYTES)
        return RestAnswer(response.status, response.headers, _parse(content))


def _read(answer: RestAnswer) -> dict[str, Any]:
    if answer.status == 204:
        return {}
    if not 200 <= answer.status < 300:
        raise explain_answer(answer.status, answer.content)
    if not isinstance(answer.content, dict):
        # A captive portal answers everything with 200.
        raise not_discord()
    return answer.content


def _parse(body: bytes) -> object:
    try:
        return orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        return None


def _explain(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return quote(explain_failure(error, "check the network"))


def _now_s() -> float:
    return asyncio.get_running_loop().time()
