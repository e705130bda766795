"""Asks Discord about a webhook, before anything is posted to it. Its URL is all that this needs.

A webhook that is gone or has another token is ``Rejected``; asking again does not help, and Discord restricts
those who do. No error repeats the URL, which is a secret.
"""

# https://docs.discord.com/developers/resources/webhook#get-webhook-with-token
# https://docs.discord.com/developers/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import aiohttp
import orjson
import yarl
from pydantic import SecretStr

from bot.api.client import explain_failure
from bot.api.exchange import read_body
from bot.api.responses import parse_retry_after
from bot.errors import Rejected, TemporaryFailure

USER_AGENT: Final = "DiscordBot (https://discord.com/developers, 1)"
_TIMEOUT_S: Final = 10.0
_RESPONSE_MAX_BYTES: Final = 64 * 1024
_INCOMING: Final = 1
# Discord's error code -> what it says about the webhook.
_REFUSALS: Final[Mapping[int, str]] = {
    10015: "the webhook does not exist (any more)",
    50027: "the token in the webhook's URL is wrong",
}
_NOT_INCOMING: Final = "it is not a webhook that messages can be posted to"


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook that takes messages; ``guild_id`` is its server, ``None`` if Discord does not tell."""

    guild_id: str | None


async def ask_webhook(url: SecretStr) -> Webhook:
    """Return what Discord knows of the webhook; raises Rejected or TemporaryFailure."""
    asked = yarl.URL(url.get_secret_value(), encoded=True)
    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S), cookie_jar=aiohttp.DummyCookieJar()
            ) as session,
            # Not redirected: the token would go to another host.
            session.get(asked, headers={"User-Agent": USER_AGENT}, allow_redirects=False) as response,
        ):
            body = await read_body(response.content, _RESPONSE_MAX_BYTES)
            return parse_webhook(response.status, response.headers, body, datetime.now(UTC))
    except TimeoutError:
        raise TemporaryFailure("Discord did not answer in time", code="Timeout") from None
    except (aiohttp.ClientError, OSError) as error:
        # Only these errors are known not to repeat the URL.
        known = isinstance(error, aiohttp.ClientConnectorError)
        reason = explain_failure(error, "check the network") if known else "the connection broke"
        raise TemporaryFailure(f"cannot reach Discord: {reason}", code=type(error).__name__) from None


def parse_webhook(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> Webhook:
    """Return the webhook in Discord's answer; raises Rejected or TemporaryFailure."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    answer = answer if isinstance(answer, dict) else {}
    code = answer.get("code")
    if status in (401, 404) and isinstance(code, int) and code in _REFUSALS:
        raise Rejected(_REFUSALS[code], status=status, code=str(code))
    if status == 200 and isinstance(answer.get("id"), str):
        if answer.get("type") != _INCOMING:
            raise Rejected(_NOT_INCOMING, status=status)
        guild_id = answer.get("guild_id")
        return Webhook(guild_id if isinstance(guild_id, str) else None)
    raise TemporaryFailure(
        f"HTTP status {status}, which says nothing about the webhook",
        status=status,
        retry_after_s=parse_retry_after(headers.get("Retry-After"), now),
    )
