"""Where the token may go when a session on disk is resumed."""

import pytest
from structlog.testing import capture_logs

from bot.gateway.resume_address import is_trusted, keep_trusted
from bot.outbox.session import Position, Session

DISCORD = "https://discord.com/api/v10"


@pytest.mark.parametrize(
    "url",
    [
        "wss://gateway-us-east1-b.discord.gg",
        "wss://gateway.discord.gg/?v=10",
        "wss://discord.gg",
    ],
)
def test_trusts_discord(url: str) -> None:
    assert is_trusted(url, DISCORD)


@pytest.mark.parametrize("url", ["ws://127.0.0.1:9001", "wss://localhost"])
def test_trusts_loopback_beside_its_api(url: str) -> None:
    """Elsewhere, another program of this machine could wait there for the token."""
    assert is_trusted(url, "http://127.0.0.1:8000/api/v10")
    assert not is_trusted(url, DISCORD)


@pytest.mark.parametrize(
    "url",
    [
        "wss://evil.example",
        "ws://gateway.discord.gg",
        "https://gateway.discord.gg",
        "wss://gateway.discord.gg.evil.example",
        "wss://evildiscord.gg",
        "wss://gateway.discord.gg@evil.example",
        "wss://evil.example/.discord.gg",
        "wss://evil.example#.discord.gg",
        "wss://evil.example\\.discord.gg",
        "wss://user:word@gateway.discord.gg",
        "wss://evil.com",
        "wss://gatewa\u0443.discord.gg",
        "wss://[::1",
        "wss://",
        "",
    ],
)
def test_distrusts_others(url: str) -> None:
    """Also those in the same top-level domain as the API."""
    assert not is_trusted(url, DISCORD)


def test_trusts_proxy_of_api() -> None:
    """It may be one host, or two in one domain."""
    api = "https://api.proxy.example/discord"
    assert is_trusted("wss://api.proxy.example", api)
    assert is_trusted("wss://gateway.proxy.example", api)
    assert not is_trusted("wss://gateway.other.example", api)


def test_foreign_session_is_dropped() -> None:
    """The line does not repeat the address."""
    good = Position(Session(0, 2, "1", "s", "wss://gateway.discord.gg"), 5)
    bad = Position(Session(1, 2, "1", "s", "wss://evil.example/\x1b"), 5)
    with capture_logs() as lines:
        assert keep_trusted({0: good, 1: bad}, DISCORD) == {0: good}
    (line,) = lines
    assert (line["event"], line["shard_id"]) == ("session_not_resumed", 1)
    assert "evil" not in str(line)
