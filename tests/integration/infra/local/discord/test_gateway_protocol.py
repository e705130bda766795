"""The gateway's answers to clients that break the protocol, and its behaviour on the wire."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Protocol

import aiohttp
import orjson
import pytest
import yarl

from infra.local.discord import StandIn

TIMEOUT_S = 10.0

Sent = dict[str, Any] | str


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


class Client:
    """A gateway client that sends exactly what the test says."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def receive(self) -> dict[str, Any]:
        return dict(orjson.loads(await self.ws.receive_str(timeout=TIMEOUT_S)))

    async def expect(self, *, op: int, event: str | None = None) -> dict[str, Any]:
        while (frame := await self.receive())["op"] != op or frame["t"] != event:
            pass
        return frame

    async def send(self, op: int, data: Any) -> None:
        await self.ws.send_str(orjson.dumps({"op": op, "d": data}).decode())

    async def identify(self, **changes: Any) -> None:
        await self.send(2, identify(**changes)["d"])

    async def wait_closed(self) -> int | None:
        async with asyncio.timeout(TIMEOUT_S):
            async for _ in self.ws:
                pass
        return self.ws.close_code


class Dial(Protocol):
    """Open a connection to the stand-in's gateway; the fixture closes it."""

    async def __call__(self, standin: StandIn, query: str = "?v=10") -> Client: ...


@pytest.fixture
async def dial(http: aiohttp.ClientSession) -> AsyncIterator[Dial]:
    """Connect clients, and close them after the test.

    The garbage collector finalizes the parts of a forgotten WebSocket in any order. On Python 3.13 its
    connection then warns, in some later test, that it was never closed.
    """
    async with AsyncExitStack() as stack:

        async def connect(standin: StandIn, query: str = "?v=10") -> Client:
            ws = await http.ws_connect(standin.gateway_url + query, compress=0)
            stack.push_async_callback(ws.close)
            return Client(ws)

        yield connect


def identify(**changes: Any) -> dict[str, Any]:
    return {"op": 2, "d": {"token": "right", "properties": {}, "intents": 129} | changes}


def resume(**changes: Any) -> dict[str, Any]:
    return {"op": 6, "d": {"token": "right", "session_id": "none", "seq": 1} | changes}


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([{"op": 77, "d": None}], 4001),
        (["not json"], 4002),
        (["[]"], 4002),
        ([{"op": 1, "d": "x" * 5000}], 4002),
        ([{"op": 2, "d": "who?"}], 4002),
        ([{"op": 6, "d": {}}], 4002),
        ([{"op": 3, "d": {}}], 4003),
        ([identify(token="wrong")], 4004),
        ([resume(token="wrong")], 4004),
        ([identify(), identify()], 4005),
        ([{"op": 1, "d": None}] * 121, 4008),
        ([identify(shard=[2, 2])], 4010),
        ([identify(shard="0")], 4010),
        ([identify(intents=1 << 40)], 4013),
        ([identify(intents=None)], 4013),
        ([identify(intents=1 << 15)], 4014),
    ],
)
async def test_mistake_gets_close_code(standin: StandIn, dial: Dial, frames: list[Sent], code: int) -> None:
    client = await dial(standin)
    for frame in frames:
        await client.ws.send_str(frame if isinstance(frame, str) else orjson.dumps(frame).decode())
    assert await client.wait_closed() == code


@pytest.mark.parametrize(
    ("query", "code"),
    [("?v=9", 4012), ("", 4012), ("?v=10&encoding=etf", 4002), ("?v=10&compress=lz4", 4002)],
)
async def test_refuses_unknown_encoding(standin: StandIn, dial: Dial, query: str, code: int) -> None:
    """An unsupported version, encoding or compression closes the connection."""
    client = await dial(standin, query)
    assert await client.wait_closed() == code


async def test_future_sequence_ends_session(standin: StandIn, dial: Dial) -> None:
    first = await dial(standin)
    await first.identify()
    session_id = (await first.expect(op=0, event="READY"))["d"]["session_id"]
    second = await dial(standin)
    await second.send(6, resume(session_id=session_id, seq=99)["d"])
    assert await second.wait_closed() == 4007
    third = await dial(standin)
    await third.send(6, resume(session_id=session_id, seq=1)["d"])
    assert (await third.expect(op=9))["d"] is False


async def test_refused_resume_may_identify(standin: StandIn, dial: Dial) -> None:
    """After op 9 a client may identify on the same connection."""
    client = await dial(standin)
    await client.send(6, resume()["d"])
    assert (await client.expect(op=9))["d"] is False
    await client.identify()
    assert (await client.expect(op=0, event="READY"))["s"] == 1


async def test_resume_replays_once_and_takes_over(standin: StandIn, dial: Dial) -> None:
    """A resuming connection replaces the previous one; an earlier RESUMED is not replayed."""
    guild = standin.world.add_guild("Base")
    general, nelly = guild.add_voice_channel("General"), guild.add_member("nelly")
    first = await dial(standin)
    await first.identify()
    session_id = (await first.expect(op=0, event="READY"))["d"]["session_id"]
    await first.expect(op=0, event="GUILD_CREATE")
    await guild.join(nelly, general)
    for resumed_as in (4, 5):
        later = await dial(standin)
        await later.send(6, resume(session_id=session_id, seq=2)["d"])
        await later.expect(op=10)
        frames = [await later.receive() for _ in range(2)]
        assert [(f["t"], f["s"]) for f in frames] == [("VOICE_STATE_UPDATE", 3), ("RESUMED", resumed_as)]
    assert await first.wait_closed() == 1006
    assert standin.live_sessions == 1


async def test_expired_session_cannot_be_resumed(dial: Dial) -> None:
    async with StandIn(token="right", session_ttl_s=-1.0) as standin:
        client = await dial(standin)
        await client.identify()
        session_id = (await client.expect(op=0, event="READY"))["d"]["session_id"]
        await standin.faults.drop()
        later = await dial(standin)
        await later.send(6, resume(session_id=session_id)["d"])
        assert (await later.expect(op=9))["d"] is False


async def test_fast_identify_gets_op_9(dial: Dial) -> None:
    async with StandIn(token="right", identify_window_s=60) as standin:
        client = await dial(standin)
        await client.identify()
        await client.expect(op=0, event="READY")
        hasty = await dial(standin)
        await hasty.identify()
        assert (await hasty.expect(op=9))["d"] is False


async def test_intents_filter_events(standin: StandIn, dial: Dial) -> None:
    guild = standin.world.add_guild("Base")
    client = await dial(standin)
    await client.identify(intents=1)
    await client.expect(op=0, event="GUILD_CREATE")
    transition = await guild.join(guild.add_member("nelly"), guild.add_voice_channel("General"))
    assert transition.reach == "unseen"


async def test_sessions_of_one_shard_get_everything(standin: StandIn, dial: Dial) -> None:
    guild = standin.world.add_guild("Base")
    clients = [await dial(standin) for _ in range(2)]
    for client in clients:
        await client.identify()
        await client.expect(op=0, event="GUILD_CREATE")
    await guild.join(guild.add_member("nelly"), guild.add_voice_channel("General"))
    for client in clients:
        assert (await client.expect(op=0, event="VOICE_STATE_UPDATE"))["s"] == 3


async def test_slow_client_delays_operations(standin: StandIn, dial: Dial) -> None:
    """Operations wait for a client that lags, and continue once it is disconnected."""
    guild = standin.world.add_guild("Base")
    rooms = [guild.add_voice_channel(name) for name in ("a", "b")]
    nelly = guild.add_member("nelly")
    client = await dial(standin)
    await client.identify()
    await client.expect(op=0, event="GUILD_CREATE")
    await guild.join(nelly, rooms[0])
    reader = client.ws._conn.protocol  # type: ignore[union-attr]
    assert reader is not None
    reader.pause_reading()

    async def keep_moving() -> None:
        for n in range(1, 50_000):
            await guild.move(nelly, rooms[n % 2])

    moving = asyncio.create_task(keep_moving())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await asyncio.shield(moving)
    held = len(standin.sent)
    assert held < 49_000
    await standin.faults.drop()
    async with asyncio.timeout(TIMEOUT_S):
        await moving
    assert standin.sent[-1].reach == "buffered"
    reader.resume_reading()


async def test_zstd_flushes_every_message(standin: StandIn, dial: Dial) -> None:
    client = await dial(standin, "?v=10&encoding=json&compress=zstd-stream")
    zstandard = pytest.importorskip("zstandard", reason="in the standard library from Python 3.14")
    stream = zstandard.ZstdDecompressor().decompressobj()
    hello = orjson.loads(stream.decompress(await client.ws.receive_bytes(timeout=TIMEOUT_S)))
    await client.identify()
    ready = orjson.loads(stream.decompress(await client.ws.receive_bytes(timeout=TIMEOUT_S)))
    assert (hello["op"], ready["t"]) == (10, "READY")


async def test_rest_answers_like_discord(standin: StandIn, http: aiohttp.ClientSession) -> None:
    async def get(path: str, authorization: str = "Bot right") -> tuple[int, str, Any]:
        async with http.get(standin.api_url + path, headers={"Authorization": authorization}) as response:
            return response.status, response.headers["Content-Type"], orjson.loads(await response.read())

    for path in ("/users/@me", "/oauth2/applications/@me", "/gateway/bot", "/gateway"):
        status, content_type, _ = await get(path)
        assert (status, content_type) == (200, "application/json")
    unauthorized = (401, "application/json", {"message": "401: Unauthorized", "code": 0})
    assert await get("/gateway/bot", "Bot wrong") == unauthorized
    assert await get("/nowhere") == (404, "application/json", {"message": "404: Not Found", "code": 0})
    bot = (await get("/gateway/bot"))[2]
    assert (bot["url"], bot["shards"]) == (standin.gateway_url, 1)
    assert bot["session_start_limit"]["max_concurrency"] == 1


async def test_event_without_guild_reaches_every_shard(standin: StandIn, dial: Dial) -> None:
    clients = [await dial(standin) for _ in range(2)]
    for n, client in enumerate(clients):
        await client.identify(shard=[n, 2])
        await client.expect(op=0, event="READY")
    assert await standin.dispatch("MADE_UP", {"x": 1}) == "live"
    for client in clients:
        assert (await client.expect(op=0, event="MADE_UP"))["d"] == {"x": 1}


async def test_stop_disconnects_and_frees_ports(dial: Dial) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        async with StandIn(token="right") as standin:
            client = await dial(standin)
            await client.identify()
            await client.expect(op=0, event="READY")
        assert await client.wait_closed() == 1006
    with pytest.raises(aiohttp.ClientConnectorError):
        await dial(standin)


@pytest.mark.parametrize(("reset", "seen"), [(False, None), (True, ConnectionResetError)])
async def test_drop_sends_fin_or_rst(standin: StandIn, reset: bool, seen: type[Exception] | None) -> None:
    url = yarl.URL(standin.gateway_url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    request = "GET /gateway?v=10 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    identified = orjson.dumps(identify())
    # A client's frame must be masked; a mask of zeros changes nothing.
    writer.write((request + key).encode() + bytes([0x81, 0x80 | len(identified), 0, 0, 0, 0]) + identified)
    await standin.wait_until(lambda: standin.live_sessions == 1, TIMEOUT_S)
    await reader.readuntil(b"READY")
    await standin.faults.drop(reset=reset)
    async with asyncio.timeout(TIMEOUT_S):
        with pytest.raises(seen) if seen else contextlib.nullcontext():
            await reader.read()
    writer.close()


async def test_cut_frame_is_incomplete(standin: StandIn, dial: Dial) -> None:
    guild = standin.world.add_guild("Base")
    client = await dial(standin)
    await client.identify()
    await client.expect(op=0, event="GUILD_CREATE")
    await standin.faults.cut_frame()
    await guild.join(guild.add_member("nelly"), guild.add_voice_channel("General"))
    assert [message async for message in client.ws if message.type is aiohttp.WSMsgType.TEXT] == []


async def test_returning_guild_is_sent_once(standin: StandIn, dial: Dial) -> None:
    """A guild that returns from an outage during a slow start is not sent again."""
    guild = standin.world.add_guild("Base")
    standin.world.add_guild("Last")
    standin.faults.delay_guilds(0.1)
    client = await dial(standin)
    await client.identify()
    await client.expect(op=0, event="READY")
    await guild.begin_outage()
    await guild.end_outage()
    transition = await guild.join(guild.add_member("nelly"), guild.add_voice_channel("General"))
    assert transition.reach == "live"
    await standin.wait_connected(TIMEOUT_S)
    await standin.dispatch("MADE_UP", {})
    events = []
    while (frame := await client.receive())["t"] != "MADE_UP":
        events.append((frame["t"], frame["d"].get("name")))
    assert events == [
        ("GUILD_DELETE", None),
        ("GUILD_CREATE", "Base"),
        ("VOICE_STATE_UPDATE", None),
        ("GUILD_CREATE", "Last"),
    ]
