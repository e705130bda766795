"""When the next request may be sent, from what the last answers said."""

import pytest

from bot.actions.rate_limits import INVALID_MAX, RateLimits, route_of

ROUTE, OTHER = "POST/channels/1/messages", "POST/channels/2/messages"
NOTHING: dict[str, str] = {}


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("PATCH", "/guilds/1/members/2", "PATCH/guilds/1/members/*"),
        ("PUT", "/guilds/1/members/2/roles/3", "PUT/guilds/1/members/*/roles/*"),
        ("POST", "/channels/1/messages", ROUTE),
        ("POST", "/users/@me/channels", "POST/users/@me/channels"),
    ],
)
def test_names_what_is_limited_together(method: str, path: str, route: str) -> None:
    assert route_of(method, path) == route


def test_rests_when_none_is_left() -> None:
    limits = RateLimits()
    limits.note(ROUTE, 200, {"X-RateLimit-Remaining": "1", "X-RateLimit-Reset-After": "4"}, None, 100.0)
    assert limits.wait_s(ROUTE, 100.0) == 0
    limits.note(ROUTE, 200, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "2.5"}, None, 100.0)

    assert limits.wait_s(ROUTE, 101.0) == 1.5
    assert limits.wait_s(ROUTE, 103.0) == 0
    assert limits.wait_s(OTHER, 101.0) == 0


@pytest.mark.parametrize(
    ("headers", "answer", "wait_s"),
    [
        ({"Retry-After": "3"}, {"retry_after": 2.5, "global": False}, 3.0),
        ({"Retry-After": "3"}, {"retry_after": 3.7}, 3.7),
        ({"Retry-After": "7"}, None, 7.0),
        ({}, {"retry_after": 1e9}, 86_400.0),
        ({}, {"retry_after": True}, 5.0),
        ({}, {"retry_after": -1}, 5.0),
        ({"Retry-After": "soon"}, "<html>", 5.0),
        ({"Retry-After": "nan"}, None, 5.0),
    ],
)
def test_waits_as_429_asks(headers: dict[str, str], answer: object, wait_s: float) -> None:
    limits = RateLimits()
    limits.note(ROUTE, 429, headers, answer, 100.0)

    assert limits.wait_s(ROUTE, 100.0) == pytest.approx(wait_s)
    assert limits.wait_s(OTHER, 100.0) == 0


def test_global_limit_rests_all_routes() -> None:
    limits = RateLimits()
    limits.note(ROUTE, 429, NOTHING, {"retry_after": 2.0, "global": True}, 100.0)

    assert (limits.wait_s(ROUTE, 100.0), limits.wait_s(OTHER, 100.0)) == (2.0, 2.0)


def test_stops_before_lockout() -> None:
    limits = RateLimits()
    for number in range(INVALID_MAX):
        assert limits.wait_s(ROUTE, 100.0) == 0, number
        limits.note(ROUTE, 403, NOTHING, {"code": 50013}, 100.0)

    assert limits.wait_s(ROUTE, 100.0) == 600
    assert limits.wait_s(ROUTE, 700.0) == 0


def test_shared_limits_are_no_fault_of_ours() -> None:
    limits = RateLimits()
    for _ in range(INVALID_MAX):
        limits.note(ROUTE, 429, {"X-RateLimit-Scope": "shared"}, {"retry_after": 0.001}, 100.0)

    assert limits.wait_s(ROUTE, 101.0) == 0


def test_forgets_routes_that_rest_no_more() -> None:
    limits = RateLimits()
    for number in range(5_000):
        limits.note(f"{number}", 429, NOTHING, {"retry_after": 1.0}, float(number * 2))

    assert len(limits._rests) <= 1_001
