"""Frames that the protocol does not have: each costs its connection, and none of them the process."""

import asyncio
from typing import Any

import pytest
import structlog

from bot.gateway.bad_frames import ATTEMPTS, GOOD_S
from bot.gateway.frames import BadFrameError
from bot.gateway.shard import CAP_S
from bot.outbox.session import Position, Session
from infra.local.discord import Guild, StandIn
from tests.integration.bot.gateway.watcher import TIMEOUT_S, TOKEN, Watcher, first_failures, join, watching
from tests.support.shards import make_shard

pytestmark = pytest.mark.usefixtures("short_waits")

BAD = {
    "not JSON": b"<html>log in</html>",
    "empty": b"",
    "white space": b"  ",
    "a list": b"[]",
    "no op": b"{}",
    "an op that is no number": b'{"op":"0","d":{}}',
    "an op that is true": b'{"op":true,"d":{}}',
    "nested deep": b'{"op":0,"t":"X","s":5,"d":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "a lone surrogate": b'{"op":0,"t":"X","s":5,"d":"\\ud800"}',
    "half a character": b'{"op":0,"t":"X","s":5,"d":"\xe2\x82"}',
    "no sequence": b'{"op":0,"t":"VOICE_STATE_UPDATE","d":{}}',
    "a sequence of words": b'{"op":0,"t":"VOICE_STATE_UPDATE","s":"five","d":{}}',
    "a sequence of a list": b'{"op":0,"t":"X","s":[],"d":{}}',
    "an endless sequence": b'{"op":0,"t":"X","s":18446744073709551615,"d":{}}',
    "a negative sequence": b'{"op":0,"t":"X","s":-1,"d":{}}',
    "no name": b'{"op":0,"s":5,"d":{}}',
    "a name that is none": b'{"op":0,"t":{},"s":5,"d":{}}',
    "no data": b'{"op":0,"t":"VOICE_STATE_UPDATE","s":5,"d":null}',
    "data of words": b'{"op":0,"t":"GUILD_CREATE","s":5,"d":"guild"}',
    "READY without a session": b'{"op":0,"t":"READY","s":5,"d":{}}',
    "READY anew": b'{"op":0,"t":"READY","s":5,"d":{"session_id":"x","resume_gateway_url":"wss://x"}}',
    "RESUMED of another": b'{"op":0,"t":"RESUMED","s":5,"d":{"session_id":"another"}}',
    "a second HELLO": b'{"op":10,"d":{"heartbeat_interval":41250}}',
    "HELLO without data": b'{"op":10,"d":null}',
    "HELLO without a wait": b'{"op":10,"d":{"heartbeat_interval":0}}',
    "op 9 of words": b'{"op":9,"d":"yes"}',
    "too many values": b'{"op":0,"t":"X","s":5,"d":[' + b"[]," * (1 << 20) + b"1]}",
    "too large": b" " * (33 << 20),
}


@pytest.mark.parametrize("bad", BAD)
async def test_bad_frame_costs_connection(standin: StandIn, guild: Guild, bad: str) -> None:
    """It is said in a line with the remedy; the session goes on, and nothing is lost or told twice."""
    with structlog.testing.capture_logs() as lines:
        async with watching(standin) as watcher:
            await join(guild, "a")
            await standin.faults.send_raw(BAD[bad])
            await standin.wait_until(lambda: standin.counts.get("resumed", 0) == 1, TIMEOUT_S)
            await join(guild, "b")
            await watcher.wait_for(2)
    assert watcher.kinds() == ["joined", "joined"]
    assert standin.counts["identified"] == 1
    (line,) = [line for line in lines if line["log_level"] not in ("info", "debug")]
    assert (line["event"], line["next"]) == ("shard_disconnected", "RESUME")
    assert line["reason"].startswith("the gateway sent ")
    assert "VOICE_RELAY_DISCORD_API_URL" in line["reason"]
    assert len(str(line)) < 400


@pytest.mark.parametrize(("status", "named"), [(200, True), (403, True), (503, False)])
async def test_refused_upgrade_is_named(standin: StandIn, guild: Guild, status: int, named: bool) -> None:
    """A portal answers with a page, Discord in trouble with a 5xx."""
    with structlog.testing.capture_logs() as lines:
        async with watching(standin) as watcher:
            standin.faults.fail_upgrades(1, status)
            await standin.faults.drop()
            await join(guild, "a")
            await watcher.wait_for(1)
    (reason,) = [line["reason"] for line in lines if f"with {status}" in line.get("reason", "")]
    assert ("VOICE_RELAY_DISCORD_API_URL" in reason) is named
    assert standin.counts["identified"] == 1


async def test_skips_unknown_op(standin: StandIn, guild: Guild) -> None:
    """Discord may add one; a line for each connection says so."""
    with structlog.testing.capture_logs() as lines:
        async with watching(standin) as watcher:
            for _ in range(3):
                await standin.faults.send_raw(b'{"op":99,"d":null,"s":7}')
            await join(guild, "a")
            await watcher.wait_for(1)
    assert standin.counts["connected"] == 1
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["op_skipped"]


@pytest.mark.parametrize("interval_s", [0.0, 1e6])
async def test_absurd_heartbeat_interval(interval_s: float) -> None:
    """At 0 the bot would flood Discord with heartbeats."""
    async with StandIn(token=TOKEN, heartbeat_interval_s=interval_s) as standin:
        lines, _ = await first_failures(standin.api_url, 5)
    failures = [line for line in lines if line["event"] == "shard_disconnected"]
    assert len(failures) >= 3
    assert all("heartbeat interval" in line["reason"] for line in failures)
    assert standin.counts.get("identify", 0) == 0


async def test_gives_up_poisoned_session(standin: StandIn, guild: Guild) -> None:
    """Every RESUME replays the frame: after some, a new session begins, with a gap before it."""
    with structlog.testing.capture_logs() as lines:
        async with watching(standin) as watcher:
            nelly = guild.add_member("nelly")
            await guild.join(nelly, guild.add_voice_channel("General"))
            await standin.faults.poison()
            await guild.leave(nelly)
            await watcher.wait_for(3)
            await join(guild, "b")
            await watcher.wait_for(4)
    assert watcher.kinds() == ["joined", "gap", "left", "joined"]
    assert [line["next"] for line in lines if line["event"] == "shard_disconnected"] == [
        *["RESUME"] * (ATTEMPTS - 1),
        "IDENTIFY",
    ]
    (given_up,) = [line for line in lines if line["event"] == "session_given_up"]
    assert given_up["log_level"] == "error"
    assert standin.counts["identified"] == 2


async def test_ready_without_session_is_no_session(standin: StandIn) -> None:
    watcher = Watcher(api_url=standin.api_url)
    shard = make_shard(intake=watcher.intake)
    with pytest.raises(BadFrameError, match="READY"):
        shard.build_parsers()["READY"]({"session_id": None, "guilds": []})
    assert shard.position is None
    assert not shard.connected
    assert not watcher.advanced


def test_poison_behind_resumed_backs_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """RESUMED is not the end of the trouble if the frame follows it; a connection that lasts is."""
    monkeypatch.setattr("bot.backoff.BASE_S", 0.5)
    now_ms = 0
    shard = make_shard(Position(Session(0, 1, "1", "s", "wss://x"), 7), clock=lambda: now_ms)
    waits = []
    for _ in range(200):
        shard.build_parsers()["RESUMED"]({})
        waits.append(shard._end(BadFrameError("a frame that is not JSON")))
    assert max(waits[20:]) > CAP_S / 2
    shard.build_parsers()["RESUMED"]({})
    now_ms = int(GOOD_S * 1000)
    assert shard._end(BadFrameError("a frame that is not JSON")) <= 1.0


async def test_message_beyond_bound_is_refused(standin: StandIn, guild: Guild) -> None:
    """What no compression makes small is refused by its header, before it is read."""

    async def send(session: Any) -> None:
        header = b"\x82\x7f" + (1 << 40).to_bytes(8, "big")
        session.wire._transport.write(header + b"x" * 1000)

    with structlog.testing.capture_logs() as lines:
        async with watching(standin) as watcher:
            (session,) = standin._sessions
            await send(session)
            await standin.wait_until(lambda: standin.counts.get("resumed", 0) == 1, TIMEOUT_S)
            await asyncio.gather(join(guild, "a"), watcher.wait_for(1))
    reasons = [line["reason"] for line in lines if line["event"] == "shard_disconnected"]
    assert [reason.partition(".")[0] for reason in reasons] == [
        "the gateway sent a message that is too large"
    ]
