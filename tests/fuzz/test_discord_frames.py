"""What Discord sends, whatever it is: taken in, or a failure of its connection, said in one line."""

import asyncio
import json
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, Final

import hypothesis.strategies as st
import structlog
from discord.gateway import ReconnectWebSocket
from hypothesis import example, given

from bot.gateway.frames import BadFrameError, parse_frame
from bot.gateway.inflate import STREAMS
from bot.gateway.intake import Intake
from bot.gateway.refusals import explain_end
from bot.gateway.websocket import DrainingWebSocket
from bot.outbox.work import Advanced, Captured, Released
from bot.routing.rules import Rule, Rules
from bot.ulid import UlidFactory
from bot.voice.events import EVENT
from bot.voice.tracker import Tracker
from infra.local.discord.compression import COMPRESSIONS
from tests.support.shards import make_shard

_IDS: Final = st.sampled_from(["1", "2", "41771983423143937", 7])
_TEXTS: Final = st.text(max_size=20) | st.sampled_from(["wss://x", "ws://127.0.0.1/", "2026-11-21T07:00:00Z"])
_LEAVES: Final = st.none() | st.booleans() | st.integers(-5, 1 << 64) | st.floats() | _TEXTS | _IDS
_KEYS: Final = st.sampled_from(
    [
        *("id", "guild_id", "channel_id", "user_id", "session_id", "name", "type", "flags", "member", "user"),
        *("members", "voice_states", "channels", "parent_id", "afk_channel_id", "roles", "nick", "joined_at"),
        *(
            "unavailable",
            "guilds",
            "resume_gateway_url",
            "heartbeat_interval",
            "self_mute",
            "username",
            "bot",
        ),
    ]
)
_VALUES: Final = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=6)
)
_OBJECTS: Final = st.dictionaries(_KEYS, _VALUES, max_size=8)
_STATES: Final = st.fixed_dictionaries(
    {"guild_id": _IDS, "user_id": _IDS, "channel_id": st.none() | _IDS}, optional={"member": _OBJECTS}
)
_EVENTS: Final = st.sampled_from(
    [
        *("READY", "RESUMED", "VOICE_STATE_UPDATE", "GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE"),
        *("CHANNEL_CREATE", "CHANNEL_UPDATE", "CHANNEL_DELETE", "SOMETHING_NEW"),
    ]
)
_DISPATCHES: Final = st.fixed_dictionaries(
    {"op": st.just(0), "t": _EVENTS, "s": st.integers(0, 99), "d": _OBJECTS | _STATES}
)
_FRAMES: Final = st.one_of(
    _DISPATCHES,
    st.fixed_dictionaries(
        {"op": st.integers(-1, 14) | _VALUES},
        optional={"t": _EVENTS | _VALUES, "s": st.integers(-1, 1 << 64) | _VALUES, "d": _VALUES | _OBJECTS},
    ),
    _VALUES,
)
_GUILD: Final = {"op": 0, "t": "GUILD_CREATE", "s": 2, "d": {"id": "1", "name": "Base", "voice_states": []}}
_READY: Final = {"session_id": "s", "resume_gateway_url": "wss://x", "guilds": [{"id": "1"}, {"id": "2"}]}


class Socket:
    """What the WebSocket asks of aiohttp's; it takes everything."""

    closed = False
    close_code: int | None = None

    async def send_str(self, _text: str) -> None:
        return

    async def close(self, *, code: int = 4000) -> None:
        self.closed, self.close_code = True, code


class Client:
    """A shard and the WebSocket under it, without a network; every event it lets out is checked."""

    def __init__(self) -> None:
        self.intake = Intake(Tracker({}, UlidFactory()), Rules([Rule()]), self._put)
        self.shard = make_shard(intake=self.intake)
        socket: Any = Socket()
        self.websocket = DrainingWebSocket(socket, loop=asyncio.get_running_loop())
        self.websocket._discord_parsers = self.shard.build_parsers()
        self.websocket.shard_id = 0
        self.websocket._max_heartbeat_timeout = 60.0
        host: Any = SimpleNamespace(websocket=self.websocket)
        self.shard._host = host

    def _put(self, item: Captured | Released | Advanced) -> None:
        if isinstance(item, Captured):
            for event in item.observation.events:
                EVENT.validate_python(event)

    async def receive(self, message: bytes) -> Exception | None:
        """Take one message, and return what ended the connection over it."""
        before = self.websocket.sequence
        try:
            await self.websocket.received_message(message)
        except BadFrameError as error:
            assert self.websocket.sequence == before, "a bad frame has not been taken in"
            return error
        except ReconnectWebSocket as error:
            return error
        return None


@given(st.sampled_from(sorted(STREAMS)), st.lists(st.binary(max_size=200), min_size=1, max_size=5))
@example("zstd-stream", [b""])
@example("zlib-stream", [b"\x00\x00\xff\xff"])
def test_bytes_inflate_or_are_bad(name: str, messages: list[bytes]) -> None:
    inflate = STREAMS[name]()
    with suppress(BadFrameError):
        for message in messages:
            assert isinstance(inflate(message), bytes | None)


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
@example(b'{"op":0,"d":' + b"[" * 5000 + b"]" * 5000 + b"}")
@example(b'{"op":10,"d":"\\ud800"}')
def test_bytes_parse_or_are_bad(data: bytes) -> None:
    with suppress(BadFrameError):
        assert isinstance(parse_frame(data)["op"], int)


@given(st.lists(_FRAMES, max_size=12))
def test_frames_cost_connection_at_most(frames: list[Any]) -> None:
    """And none costs the log a traceback."""
    with structlog.testing.capture_logs() as lines:
        asyncio.run(_receive_all(frames))
    assert [line for line in lines if line["log_level"] == "error"] == []


async def _receive_all(frames: list[Any]) -> None:
    client, compress = Client(), COMPRESSIONS["zstd-stream"]()
    opening = [
        {"op": 10, "d": {"heartbeat_interval": 41250}},
        {"op": 0, "t": "READY", "s": 1, "d": _READY},
        _GUILD,
    ]
    for frame in (*opening, *frames):
        error = await client.receive(compress(json.dumps(frame).encode()))
        if error is not None:
            socket: Any = client.websocket
            reason = explain_end(error, socket)
            assert reason.isprintable()
            assert len(reason) < 300
            assert client.shard._end(error) >= 0
            break
    await client.websocket.close()
    position = client.shard.position
    assert position is None or 0 <= position.seq < 1 << 53
