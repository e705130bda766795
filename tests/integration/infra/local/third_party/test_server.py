"""The stand-in for a third party, over HTTP."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from infra.local.third_party import ThirdParty


@pytest.fixture
async def party() -> AsyncIterator[ThirdParty]:
    async with ThirdParty() as party:
        yield party


async def _post(party: ThirdParty, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(party.url + path, json=body or {}, headers=headers) as response,
    ):
        return response.status, await response.json(), response.headers


async def _log_in(party: ThirdParty) -> str:
    given = {"username": party.accounts.user, "password": party.accounts.password}
    _, answer, _ = await _post(party, "/login", given)
    return str(answer["access_token"])


async def test_token_lasts_until_it_expires(party: ThirdParty) -> None:
    bearer = f"Bearer {await _log_in(party)}"

    assert (await _post(party, "/api/events", Authorization=bearer))[0] == 200
    party.accounts.expire_tokens()
    assert (await _post(party, "/api/events", Authorization=bearer))[0] == 401
    assert party.accounts.logins == 1


async def test_refuses_wrong_password(party: ThirdParty) -> None:
    status, answer, _ = await _post(party, "/login", {"username": party.accounts.user, "password": "x"})

    assert (status, answer) == (401, {"error": "wrong user name or password"})


async def test_takes_key_and_basic(party: ThirdParty) -> None:
    pair = base64.b64encode(f"{party.accounts.user}:{party.accounts.password}".encode()).decode()

    for headers, status in (
        ({"X-Api-Key": party.accounts.api_key}, 200),
        ({"Authorization": f"Basic {pair}"}, 200),
        ({"X-Api-Key": "wrong"}, 401),
        ({"Authorization": "Basic !"}, 401),
        ({}, 401),
    ):
        assert (await _post(party, "/api/events", **headers))[0] == status


async def test_repeated_key_has_one_effect(party: ThirdParty) -> None:
    first, _, _ = await _post(party, "/hooks/events", {"a": 1}, **{"Idempotency-Key": "k"})
    again, _, headers = await _post(party, "/hooks/events", {"a": 1}, **{"Idempotency-Key": "k"})

    assert (first, again, headers["Idempotent-Replayed"]) == (200, 200, "true")
    assert party.told == {"k": {"a": 1}}

    assert (await _post(party, "/hooks/events", {"a": 2}, **{"Idempotency-Key": "k"}))[0] == 422


async def test_answers_as_scripted(party: ThirdParty) -> None:
    party.throttle_next(1, retry_after_s=3)
    party.answer_next(500, "oops")

    status, _, headers = await _post(party, "/hooks/events")
    assert (status, headers["Retry-After"]) == (429, "3")
    party.honours_range = True
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{party.url}/hooks/events", json={}) as response,
    ):
        assert (response.status, await response.text()) == (500, "oops")
    assert (await _post(party, "/hooks/events", Range="bytes=0-9"))[0] == 206
    assert party.statuses == [429, 500, 206]
