"""Which Host a request to the ops server may have."""

import pytest

from bot.telemetry.host_names import is_allowed_host

_LOOPBACK = ("127.0.0.1", "::1")
_ALL = ("0.0.0.0", "::")  # noqa: S104  # nothing is bound


@pytest.mark.parametrize(
    ("header", "on_loopback", "on_all"),
    [
        (None, True, True),
        ("localhost", True, True),
        ("relay.localhost:80", True, True),
        ("127.0.0.2", True, True),
        ("[::1]:8080", True, True),
        ("10.0.0.7:8080", False, True),
        ("[fd00::7]", False, True),
        ("relay", False, True),
        ("relay.", False, True),
        ("relay.monitoring.svc", False, True),
        ("relay.monitoring.svc.cluster.local", False, True),
        ("relay.example.com", False, False),
        ("localhost.example.com", False, False),
        ("examplelocalhost.com", False, False),
        ("evil.notlocal", False, False),
        ("localhost@example.com", False, False),
        ("[relay]", False, False),
        ("localhost, relay", False, False),
        ("", False, False),
    ],
)
def test_checks_host(header: str | None, *, on_loopback: bool, on_all: bool) -> None:
    assert is_allowed_host(header, configured="127.0.0.1", addresses=_LOOPBACK) is on_loopback
    assert is_allowed_host(header, configured="0.0.0.0", addresses=_ALL) is on_all  # noqa: S104


@pytest.mark.parametrize("addresses", [_LOOPBACK, _ALL])
def test_allows_configured_name(addresses: tuple[str, ...]) -> None:
    assert is_allowed_host("Relay.example.com:8080", configured="relay.example.com", addresses=addresses)
