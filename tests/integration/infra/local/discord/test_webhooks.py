"""Webhooks over HTTP: authentication, limits, kept messages and scripted failures."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import discord
import orjson
import pytest

from infra.local.discord import RateLimit, StandIn, Webhook

TIMEOUT_S = 10.0
AGENT = {"User-Agent": "DiscordBot (https://example.com, 1.0) extra"}


@pytest.fixture
async def standin() -> AsyncIterator[StandIn]:
    async with StandIn() as standin:
        yield standin


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


@pytest.fixture
def hook(standin: StandIn) -> Webhook:
    return standin.add_webhook("default")


class Answer:
    def __init__(self, response: aiohttp.ClientResponse, raw: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.raw = raw

    @property
    def json(self) -> Any:
        assert self.headers["Content-Type"] == "application/json"
        return orjson.loads(self.raw)


async def post(
    http: aiohttp.ClientSession,
    url: str,
    body: object = None,
    *,
    raw: bytes | None = None,
    headers: Mapping[str, str] = AGENT,
) -> Answer:
    data = orjson.dumps(body or {"content": "hello"}) if raw is None else raw
    async with http.post(url, data=data, headers={"Content-Type": "application/json", **headers}) as response:
        return Answer(response, await response.read())


async def test_post_is_kept_and_answers_204(
    standin: StandIn, http: aiohttp.ClientSession, hook: Webhook
) -> None:
    answer = await post(http, hook.url, {"content": "hi"}, headers={**AGENT, "X-Extra": "1"})
    assert (answer.status, answer.raw, answer.headers["Via"]) == (204, b"", "1.1 google")
    [message] = await standin.wait_for_messages(lambda messages: len(messages) == 1, TIMEOUT_S)
    assert (message.body, message.raw) == ({"content": "hi"}, b'{"content":"hi"}')
    assert message.headers["x-extra"] == "1"
    assert hook.messages == [message]


@pytest.mark.parametrize("version", ["", "/v10"])
async def test_wait_returns_message(http: aiohttp.ClientSession, hook: Webhook, version: str) -> None:
    url = hook.url.replace("/api/", f"/api{version}/")
    answer = await post(http, url + "?wait=true", {"embeds": [{"title": "x"}], "username": "Relay"})
    assert answer.status == 200
    assert answer.json["embeds"] == [{"type": "rich", "title": "x"}]
    assert answer.json["author"]["username"] == "Relay"
    assert answer.json["id"] == hook.messages[0].id


async def test_serves_discord_py_webhook(
    standin: StandIn, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """discord.py's webhooks send whatever User-Agent their HTTP session has."""
    monkeypatch.setattr(discord.http.Route, "BASE", standin.api_url)
    async with aiohttp.ClientSession(headers=AGENT) as http:
        webhook = discord.Webhook.partial(int(hook.id), hook.token, session=http)
        message = await webhook.send("hello", wait=True, allowed_mentions=discord.AllowedMentions.none())
        assert message.content == "hello"
        with pytest.raises(discord.HTTPException) as refused:
            await webhook.send("x" * 2001)
    assert (refused.value.status, refused.value.code) == (400, 50035)


async def test_refuses_invalid_callers(standin: StandIn, http: aiohttp.ClientSession, hook: Webhook) -> None:
    blocked = await post(http, hook.url, headers={"User-Agent": "curl/8"})
    assert (blocked.status, blocked.headers["Content-Type"]) == (403, "text/html; charset=utf-8")
    assert standin.webhooks.refused_agents == 1
    unknown = await post(http, hook.url.replace(hook.id, "1"))
    assert (unknown.status, unknown.json["code"]) == (404, 10015)
    forged = await post(http, hook.url + "x")
    assert (forged.status, forged.json["code"]) == (401, 50027)
    assert hook.messages == []


@pytest.mark.parametrize(
    ("raw", "query", "content_type", "code"),
    [
        (b"{", "", "application/json", 50109),
        (b"\xff", "", "application/json", 50109),
        (b"{}", "", "application/json", 50006),
        (b'{"content":"x"}', "", "text/plain", 50035),
        (b'{"content":"x"}', "?thread_id=abc", "application/json", 50035),
        (b'{"components":[{"type":10}]}', "", "application/json", 50006),
    ],
)
async def test_refuses_bad_request(
    http: aiohttp.ClientSession, hook: Webhook, raw: bytes, query: str, content_type: str, code: int
) -> None:
    answer = await post(http, hook.url + query, raw=raw, headers=AGENT | {"Content-Type": content_type})
    assert (answer.status, answer.json["code"]) == (400, code)
    assert hook.messages == []


async def test_throttles_sixth_post(http: aiohttp.ClientSession, hook: Webhook) -> None:
    hook.limit_to(RateLimit(requests=5, per_s=60.0))
    answers = [await post(http, hook.url) for _ in range(6)]
    assert [answer.status for answer in answers] == [204] * 5 + [429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["4", "3", "2", "1", "0", "0"]
    throttled = answers[-1]
    assert throttled.json.keys() == {"message", "retry_after", "global"}
    assert 59 < throttled.json["retry_after"] <= 60
    assert throttled.json["global"] is False
    assert throttled.headers["Retry-After"] == "60"
    assert throttled.headers["X-RateLimit-Reset-After"] == f"{throttled.json['retry_after']:.3f}"
    assert throttled.headers["X-RateLimit-Scope"] == "user"
    assert "Via" in throttled.headers
    assert len(hook.messages) == 5


async def test_limits_are_per_webhook(standin: StandIn, http: aiohttp.ClientSession, hook: Webhook) -> None:
    """Each webhook has its own rate limit, which can be turned off."""
    other = standin.add_webhook("other")
    hook.limit_to(RateLimit(requests=1, per_s=60.0))
    assert [(await post(http, url)).status for url in (hook.url, other.url, hook.url)] == [204, 204, 429]
    hook.limit_to(None)
    assert {(await post(http, hook.url)).status for _ in range(20)} == {204}


async def test_scripted_failures_keep_order(http: aiohttp.ClientSession, hook: Webhook) -> None:
    hook.fail_next(1, 502, "<html>bad gateway</html>")
    hook.throttle_next(1, 0.75, scope="shared")
    hook.fail_next(1, 500, {"message": "oops", "code": 0}, saved=True)
    hook.fail_next(1, None)
    bad_gateway, throttled, saved = [await post(http, hook.url) for _ in range(3)]
    assert (bad_gateway.status, bad_gateway.raw) == (502, b"<html>bad gateway</html>")
    assert (throttled.status, throttled.json["retry_after"]) == (429, 0.75)
    assert (throttled.headers["Retry-After"], throttled.headers["X-RateLimit-Scope"]) == ("1", "shared")
    assert (saved.status, saved.json["message"]) == (500, "oops")
    with pytest.raises(aiohttp.ClientConnectionError):
        await post(http, hook.url)
    assert (await post(http, hook.url)).status == 204
    assert len(hook.messages) == 2
    assert hook.answers == {502: 1, 429: 1, 500: 1, None: 1, 204: 1}


async def test_wait_for_messages_times_out(standin: StandIn, hook: Webhook) -> None:
    with pytest.raises(TimeoutError, match="the messages expected"):
        await standin.wait_for_messages(bool, 0.01)


async def test_get_returns_webhook(http: aiohttp.ClientSession, hook: Webhook) -> None:
    async with http.get(hook.url, headers=AGENT) as response:
        assert orjson.loads(await response.read())["name"] == "default"
