"""The questions that the gateway's client asks Discord's REST API, and the way to the gateway.

What answers may be a proxy, a captive portal or a web server. So an answer is bounded, and parsed here into
what was asked for, or a RestError that says in a sentence what is wrong. No redirect is followed: the token
would go with it. discord.py's own client is not used, because it sleeps for as long as an answer tells it to.
"""

# https://docs.discord.com/developers/reference and .../events/gateway#get-gateway-bot

import asyncio
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import aiohttp
import discord
import orjson
from discord.gateway import DiscordClientWebSocketResponse

from bot.api.client import explain_failure
from bot.api.exchange import read_body
from bot.api.quote import quote
from bot.errors import SettingsError
from bot.gateway.frames import FRAME_MAX_BYTES, parse_gateway_url
from bot.voice.payloads import parse_id

DISCORD_API: Final = "https://discord.com/api/v10"
CHECK_URL: Final = "Check VOICE_RELAY_DISCORD_API_URL."
LOGIN_REFUSED: Final = (
    "VOICE_RELAY_DISCORD_TOKEN: Discord refuses this bot token. "
    "Copy the token anew from the bot's page in the developer portal."
)
SHARDS_MAX: Final = 1024
"""More than this is for several processes: it is 2.5 million guilds."""

_ANSWER_S: Final = 30.0
_ANSWER_MAX_BYTES: Final = 1 << 20
_RETRY_AFTER_MAX_S: Final = 900.0
_DAY_S: Final = 86_400.0
_CLOSE_S: Final = 30.0
_ELSEWHERE: Final = (301, 302, 303, 307, 308, 404, 405)
USER_AGENT: Final = f"DiscordBot (https://github.com/Rapptz/discord.py, {discord.__version__})"


class RestError(Exception):
    """Discord's REST API did not answer the question; the message is one sentence or two, with the remedy.

    ``retry_after_s`` is how long the answer asks to be left alone.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Limits(NamedTuple):
    """What GET /gateway/bot says: where the gateway is, the shards advised, and the IDENTIFYs left."""

    url: str
    shards: int
    remaining: int
    reset_after_s: float
    max_concurrency: int


class Rest:
    """Asks the API at *base_url* with *token*, within ``async with``.

    ``token`` and ``ws_connect`` are what discord.py's WebSocket asks of a client.
    """

    def __init__(self, base_url: str, token: str) -> None:
        self.token = token
        self._base_url = base_url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT},
            # What is compressed all the same is not JSON, and cannot become large.
            auto_decompress=False,
            ws_response_class=DiscordClientWebSocketResponse,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.close()

    async def get_bot_id(self) -> str:
        """Return whose the token is. Raises SettingsError if Discord refuses it, else RestError."""
        bot_id = parse_id((await self._get("/users/@me")).get("id"))
        if bot_id is None:
            raise self._not_discord()
        return bot_id

    async def get_gateway_bot(self) -> Limits:
        """Return where the gateway is, and its limits. Raises as ``get_bot_id`` does."""
        answer = await self._get("/gateway/bot")
        limits = answer.get("session_start_limit")
        url, shards = parse_gateway_url(answer.get("url")), _parse_whole(answer.get("shards"))
        if url is None or not shards or not isinstance(limits, dict):
            raise self._not_discord()
        if shards > SHARDS_MAX:
            raise RestError(
                f"Discord advises {shards} shards, too many for one process. "
                "Set VOICE_RELAY_SHARD_IDS and VOICE_RELAY_SHARD_COUNT."
            )
        remaining, reset_ms = _parse_whole(limits.get("remaining")), _parse_whole(limits.get("reset_after"))
        concurrency = _parse_whole(limits.get("max_concurrency"))
        if remaining is None or reset_ms is None or concurrency is None:
            raise self._not_discord()
        return Limits(url, shards, remaining, min(reset_ms / 1000, _DAY_S), max(1, concurrency))

    async def has_interactions_endpoint(self) -> bool:
        """Return whether interactions go to a URL and not to the gateway. Raises as ``get_bot_id`` does."""
        # https://docs.discord.com/developers/resources/application#get-current-application
        return bool((await self._get("/applications/@me")).get("interactions_endpoint_url"))

    async def ws_connect(self, url: str) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket as discord.py wants it, with a bound on its messages."""
        return await self._opened.ws_connect(
            url,
            max_msg_size=FRAME_MAX_BYTES,
            timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S),
            autoclose=False,
        )

    @property
    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("not opened")
        return self._session

    async def _get(self, path: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bot {self.token}", "Accept-Encoding": "identity"}
        try:
            async with (
                asyncio.timeout(_ANSWER_S),
                self._opened.get(self._base_url + path, headers=headers, allow_redirects=False) as response,
            ):
                status = response.status
                body = await read_body(response.content, _ANSWER_MAX_BYTES)
        except TimeoutError:
            raise RestError("Discord does not answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise RestError(self._explain_unreached(error)) from None
        answer = parse_answer(body)
        if 200 <= status < 300 and answer is not None:
            return answer
        raise self._refuse(status, answer)

    def _refuse(self, status: int, answer: dict[str, Any] | None) -> Exception:
        if 200 <= status < 300:
            return self._not_discord()
        # A captive portal says 401 too, but not in Discord's words.
        if status == 401 and answer is not None and "message" in answer:
            return SettingsError([LOGIN_REFUSED])
        foreign = status in _ELSEWHERE or status == 401
        retry_after_s = parse_retry_after(answer) if status == 429 else None
        return RestError(
            f"Discord answers with {status}" + (f". {CHECK_URL}" if foreign else ""),
            retry_after_s=retry_after_s,
        )

    def _not_discord(self) -> RestError:
        return RestError(f"{quote(self._base_url)} does not answer as Discord's API does. {CHECK_URL}")

    def _explain_unreached(self, error: Exception) -> str:
        reason = explain_unreached(error)
        return reason if self._base_url == DISCORD_API else f"{reason}. {CHECK_URL}"


def explain_unreached(error: Exception) -> str:
    """Return why there was no connection to Discord, or none any more."""
    return f"Discord cannot be reached: {quote(explain_failure(error, 'check the network'))}"


def parse_answer(body: bytes) -> dict[str, Any] | None:
    """Return the object that *body* is in JSON, ``None`` for anything else."""
    try:
        answer = orjson.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _parse_whole(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 53 else None


def parse_retry_after(answer: dict[str, Any] | None) -> float | None:
    """Return how long a 429 asks to be left alone, bounded; ``None`` if it does not say."""
    seconds = None if answer is None else answer.get("retry_after")
    if not isinstance(seconds, int | float) or not seconds > 0:
        return None
    return min(float(seconds), _RETRY_AFTER_MAX_S)
