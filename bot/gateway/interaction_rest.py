"""Answers interactions over Discord's REST API: first that it was heard, then the sentence.

The token of an interaction stands for the bot's own, in the path of each request; so no URL is logged.
Discord takes the first answer for three seconds, and its edits for a quarter of an hour.
"""

# https://docs.discord.com/developers/interactions/receiving-and-responding#responding-to-an-interaction

import asyncio
import enum
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import orjson

from bot.api.exchange import read_body
from bot.backoff import backoff_s
from bot.gateway.press import Press
from bot.gateway.rest import USER_AGENT, RestError, explain_unreached, parse_answer, parse_retry_after

DEFER_S: Final = 3.0
"""Discord takes no first answer after that."""
ANSWER_S: Final = 30.0
"""How long an answer is tried."""

_DEFERRED_MESSAGE: Final = 5
_EPHEMERAL: Final = 1 << 6
_ALREADY_ACKNOWLEDGED: Final = 40060
_ANSWER_MAX_BYTES: Final = 1 << 16
_CAP_S: Final = 2.0


class Heard(enum.Enum):
    """What Discord says to the first answer."""

    NOW = enum.auto()
    BEFORE = enum.auto()
    """An earlier connection, or an earlier process, has answered already."""
    TOO_LATE = enum.auto()


class InteractionRest:
    """Answers through the API at *base_url*, within ``async with``."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), headers={"User-Agent": USER_AGENT}, auto_decompress=False
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def defer(self, press: Press) -> Heard:
        """Promise an answer that only the presser will see; tried again for as long as Discord takes it."""
        body = {"type": _DEFERRED_MESSAGE, "data": {"flags": _EPHEMERAL}}
        path = f"/interactions/{press.id}/{press.token}/callback"
        try:
            status, answer = await self._try("POST", path, body, DEFER_S)
        except RestError:
            return Heard.TOO_LATE
        if 200 <= status < 300:
            return Heard.NOW
        acknowledged = answer is not None and answer.get("code") == _ALREADY_ACKNOWLEDGED
        return Heard.BEFORE if acknowledged else Heard.TOO_LATE

    async def answer(self, press: Press, text: str) -> None:
        """Put *text* in the place of the promise; raises RestError."""
        body = {"content": text, "allowed_mentions": {"parse": []}}
        path = f"/webhooks/{press.application_id}/{press.token}/messages/@original"
        status, answer = await self._try("PATCH", path, body, ANSWER_S)
        if not 200 <= status < 300:
            code = "" if answer is None else f", code {answer.get('code')!r:.20}"
            raise RestError(f"Discord answers with {status}{code}")

    async def _try(
        self, method: str, path: str, body: object, within_s: float
    ) -> tuple[int, dict[str, Any] | None]:
        """Ask until there is an answer that will not change, for *within_s*; raises RestError."""
        error = RestError("Discord does not answer in time")
        attempts = 0
        try:
            async with asyncio.timeout(within_s):
                while True:
                    try:
                        status, answer = await self._ask(method, path, body)
                    except RestError as failure:
                        error, wait_s = failure, None
                    else:
                        if status != 429 and status < 500:
                            return status, answer
                        error = RestError(f"Discord answers with {status}")
                        wait_s = parse_retry_after(answer)
                    await asyncio.sleep(backoff_s(attempts, wait_s, cap_s=_CAP_S))
                    attempts += 1
        except TimeoutError:
            raise error from None

    async def _ask(self, method: str, path: str, body: object) -> tuple[int, dict[str, Any] | None]:
        if self._session is None:
            raise RuntimeError("not opened")
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        try:
            async with self._session.request(
                method,
                self._base_url + path,
                data=orjson.dumps(body),
                headers=headers,
                allow_redirects=False,
            ) as response:
                content = await read_body(response.content, _ANSWER_MAX_BYTES)
                return response.status, parse_answer(content)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise RestError(explain_unreached(error)) from None
