"""Frames at their largest, and addresses that the token may go to."""

import orjson
import pytest

from bot.gateway.frames import FRAME_MAX_BYTES, parse_frame, parse_gateway_url

ID = "1234567890123456789"


def build_largest() -> bytes:
    """A GUILD_CREATE with every limit of a server reached, and a stage with 10,000 listeners."""
    roles = [f"{number:019}" for number in range(20)]
    overwrites = [{"id": ID, "type": 0, "allow": "1024", "deny": "1049600"}] * 50
    channel = {"id": ID, "type": 2, "name": "n" * 100, "topic": "t" * 1024, "parent_id": ID, "position": 1}
    user = {"id": ID, "username": "u" * 32, "global_name": "g" * 32, "avatar": "a" * 34, "bot": False}
    member = {"user": user, "nick": "n" * 32, "roles": roles, "joined_at": "2022-03-01T12:00:00"}
    state = {"user_id": ID, "channel_id": ID, "session_id": "s" * 32, "self_mute": True, "self_deaf": False}
    guild = {
        "id": ID,
        "channels": [{**channel, "permission_overwrites": overwrites}] * 500,
        "threads": [channel] * 1000,
        "roles": [{"id": ID, "name": "r" * 100, "permissions": "1" * 16, "color": 5, "hoist": True}] * 250,
        "emojis": [{"id": ID, "name": "e" * 32, "roles": roles, "animated": False}] * 500,
        "members": [member] * 10_000,
        "voice_states": [state] * 10_000,
    }
    return orjson.dumps({"t": "GUILD_CREATE", "s": 2, "op": 0, "d": guild})


def test_largest_guild_is_read() -> None:
    data = build_largest()
    assert len(data) < FRAME_MAX_BYTES / 1.5
    assert len(parse_frame(data)["d"]["members"]) == 10_000


@pytest.mark.parametrize(
    "url", ["wss://gateway.discord.gg", "wss://gateway-us-east1-b.discord.gg/", "ws://127.0.0.1:8080/gateway"]
)
def test_takes_gateway_address(url: str) -> None:
    assert parse_gateway_url(url) == url


@pytest.mark.parametrize(
    "url",
    [None, 5, "", "x", "wss://", "wss://[", "ws://gateway.discord.gg", "https://discord.com", "file:///etc"],
)
def test_refuses_other_addresses(url: object) -> None:
    """The token would be read on the way, or go nowhere."""
    assert parse_gateway_url(url) is None
