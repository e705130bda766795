"""The stand-in's gateway, as the real AutoShardedClient sees it."""

from typing import Any

import discord
import pytest

from infra.local.discord import Flag, Guild, StandIn, Transition
from infra.local.discord.model import NO_FLAGS

TIMEOUT_S = 20.0


def summary(update: Any) -> tuple[str, str | None, bool]:
    return update["user_id"], update["channel_id"], update["self_mute"]


async def test_client_sees_guilds_and_voice_members(standin: StandIn, guild: Guild, connect: Any) -> None:
    lobby = guild.add_category("Lobby")
    general = guild.add_voice_channel("General", lobby)
    stage = guild.add_stage_channel("Talks")
    text = guild.add_text_channel("chat")
    nelly = guild.add_member("nelly", "Nelly", nick="Nell")
    await guild.join(nelly, general, self_mute=True)
    standin.world.add_guild("Elsewhere", has_bot=False)
    standin.world.guilds.popitem()
    async with connect(standin) as client:
        await client.wait_until_ready()
        seen = client.get_guild(int(guild.id))
        assert seen is not None
        assert (seen.name, seen.unavailable, seen.member_count) == ("Base", False, 2)
        assert [type(seen.get_channel(int(c.id))) for c in (lobby, general, stage, text)] == [
            discord.CategoryChannel,
            discord.VoiceChannel,
            discord.StageChannel,
            discord.TextChannel,
        ]
        member = seen.get_member(int(nelly.id))
        assert member is not None
        assert member.display_name == "Nell"
        assert member.voice is not None
        assert member.voice.self_mute
        assert client.user is not None
        assert client.application_id is not None
    assert [t.reach for t in standin.sent] == ["unseen"]


async def test_transitions_arrive_in_order(
    standin: StandIn, guild: Guild, connect: Any, compression: str
) -> None:
    """Join, flags, move and leave arrive with either compression, and the log matches."""
    first, second = guild.add_voice_channel("One"), guild.add_voice_channel("Two")
    nelly = guild.add_member("nelly")
    async with connect(standin) as client:
        await guild.join(nelly, first)
        await guild.update(nelly, self_mute=True, self_stream=True)
        assert await guild.update(nelly, self_mute=True) is None
        await guild.move(nelly, second, mute=True)
        await guild.leave(nelly)
        updates = await client.wait_seen("VOICE_STATE_UPDATE", 5)
    assert [summary(update) for update in updates] == [
        (nelly.id, first.id, False),
        (nelly.id, first.id, True),
        (nelly.id, first.id, True),
        (nelly.id, second.id, True),
        (nelly.id, None, True),
    ]
    assert ["self_stream" in update for update in updates] == [False, True, True, True, True]
    assert updates[3]["member"]["mute"] is True
    assert updates[0]["member"]["user"]["username"] == "nelly"

    def expect(
        kind: Any, channel: Any, previous: Any, changes: dict[str, bool], flags: Flag = NO_FLAGS
    ) -> Transition:
        return Transition(kind, guild.id, nelly.id, channel, previous, changes, "live", 0.0, flags)

    own = Flag.SELF_MUTE | Flag.SELF_STREAM
    assert [transition._replace(at=0.0) for transition in standin.sent] == [
        expect("joined", first.id, None, {}),
        expect("updated", first.id, None, {"self_mute": True, "self_stream": True}, own),
        expect("moved", second.id, first.id, {"mute": True}, own | Flag.MUTE),
        expect("left", None, second.id, {}, own | Flag.MUTE),
    ]
    assert standin.sent.of_guild(guild.id) == list(standin.sent)


async def test_shards_receive_their_guilds_only(connect: Any) -> None:
    async with StandIn(shards=2, max_concurrency=2) as standin:
        guilds = [standin.world.add_guild(f"Guild {n}") for n in range(6)]
        async with connect(standin) as client:
            await client.wait_until_ready()
            for guild in guilds:
                await guild.join(guild.add_member("nelly"), guild.add_voice_channel("General"))
            updates = await client.wait_seen("VOICE_STATE_UPDATE", 6)
            assert [update["guild_id"] for update in updates if int(update["guild_id"]) >> 22 & 1] == [
                guild.id for guild in guilds[1::2]
            ]
            assert {g.shard_id for g in client.guilds} == {0, 1}
            assert len(client.seen("READY")) == 2


async def test_reconnect_resumes_and_replays(standin: StandIn, guild: Guild, connect: Any) -> None:
    general, nelly = guild.add_voice_channel("General"), guild.add_member("nelly")
    async with connect(standin) as client:
        await standin.faults.reconnect()
        await standin.wait_until(lambda: not standin.live_sessions, TIMEOUT_S)
        missed = await guild.join(nelly, general)
        await client.wait_seen("RESUMED")
        live = await guild.leave(nelly)
        await client.wait_seen("VOICE_STATE_UPDATE", 2)
        assert (missed.reach, live.reach) == ("buffered", "live")
        events = [event for event, _ in client.frames]
        assert events == ["READY", "GUILD_CREATE", "VOICE_STATE_UPDATE", "RESUMED", "VOICE_STATE_UPDATE"]
        assert standin.counts["resumed"] == 1


@pytest.mark.parametrize("reset", [False, True])
async def test_dropped_connection_replays_missed_events(
    standin: StandIn, guild: Guild, connect: Any, reset: bool
) -> None:
    rooms = [guild.add_voice_channel(f"Room {n}") for n in range(2)]
    nelly = guild.add_member("nelly")
    async with connect(standin) as client:
        await guild.join(nelly, rooms[0])
        await client.wait_seen("VOICE_STATE_UPDATE")
        await standin.faults.drop(reset=reset)
        for n in range(1, 40):
            await guild.move(nelly, rooms[n % 2])
        await client.wait_seen("RESUMED")
        updates = await client.wait_seen("VOICE_STATE_UPDATE", 40)
        assert [update["channel_id"] for update in updates] == [rooms[n % 2].id for n in range(40)]
        assert len(client.seen("READY")) == 1


async def test_cut_frame_is_replayed_once(
    standin: StandIn, guild: Guild, connect: Any, compression: str
) -> None:
    general, nelly = guild.add_voice_channel("General"), guild.add_member("nelly")
    async with connect(standin) as client:
        await standin.faults.cut_frame()
        await guild.join(nelly, general)
        await client.wait_seen("RESUMED")
        assert len(client.seen("VOICE_STATE_UPDATE")) == 1


async def test_unresumable_invalidation_starts_new_session(
    standin: StandIn, guild: Guild, connect: Any
) -> None:
    general, nelly = guild.add_voice_channel("General"), guild.add_member("nelly")
    async with connect(standin) as client:
        await standin.faults.invalidate(resumable=False)
        transition = await guild.join(nelly, general)
        await client.wait_seen("READY", 2)
        created = await client.wait_seen("GUILD_CREATE", 2)
        assert transition.reach == "unseen"
        assert client.seen("VOICE_STATE_UPDATE") == []
        assert [len(data["voice_states"]) for data in created] == [0, 1]
        assert (standin.counts["identified"], standin.counts.get("resumed", 0)) == (2, 0)


async def test_resumable_invalidation_resumes(standin: StandIn, guild: Guild, connect: Any) -> None:
    async with connect(standin) as client:
        await standin.faults.invalidate(resumable=True)
        await client.wait_seen("RESUMED")
        assert standin.counts["identified"] == 1


async def test_expired_session_identifies_again(standin: StandIn, guild: Guild, connect: Any) -> None:
    async with connect(standin) as client:
        await standin.faults.expire_sessions()
        await standin.faults.drop()
        await client.wait_seen("READY", 2)
        assert standin.counts["resume_refused"] == 1


async def test_overflowed_buffer_refuses_resume(connect: Any) -> None:
    async with StandIn(replay_limit=10) as standin:
        guild = standin.world.add_guild("Base")
        general, nelly = guild.add_voice_channel("General"), guild.add_member("nelly")
        async with connect(standin) as client:
            await guild.join(nelly, general)
            await client.wait_seen("VOICE_STATE_UPDATE")
            await standin.faults.drop()
            for n in range(11):
                await guild.update(nelly, self_mute=n % 2 == 0)
            await client.wait_seen("READY", 2)
            assert standin.counts["resume_refused"] == 1


@pytest.mark.parametrize(("code", "resumes"), [(4000, True), (4009, False), (1000, True)])
async def test_close_code_decides_resumability(
    standin: StandIn, guild: Guild, connect: Any, code: int, resumes: bool
) -> None:
    async with connect(standin) as client:
        await standin.faults.close(code)
        await client.wait_seen("RESUMED" if resumes else "READY", 1 if resumes else 2)


async def test_client_close_ends_session(standin: StandIn, guild: Guild, connect: Any) -> None:
    async with connect(standin):
        pass
    await standin.wait_disconnected(TIMEOUT_S)
    assert (await guild.join(guild.add_member("nelly"), guild.add_voice_channel("General"))).reach == "unseen"


async def test_requested_heartbeat_is_immediate(standin: StandIn, guild: Guild, connect: Any) -> None:
    async with connect(standin):
        before = standin.counts["heartbeat"]
        await standin.faults.request_heartbeat()
        await standin.wait_until(lambda: standin.counts["heartbeat"] > before, TIMEOUT_S)


async def test_missing_acks_make_client_resume(connect: Any) -> None:
    async with StandIn(heartbeat_interval_s=0.2) as standin:
        standin.world.add_guild("Base")
        async with connect(standin) as client:
            # discord.py waits a minute for a silent gateway by default.
            client.shards[0]._parent.ws._keep_alive.heartbeat_timeout = 0.5
            standin.faults.stop_acks()
            await standin.wait_until(lambda: standin.counts["connected"] > 1, TIMEOUT_S)
            standin.faults.resume_acks()
            await client.wait_seen("RESUMED")


async def test_wrong_token_fails_login(standin: StandIn, connect: Any) -> None:
    standin.token = "wrong"
    with pytest.raises(discord.LoginFailure):
        async with connect(standin):
            pass


async def test_refuses_privileged_intents(standin: StandIn, connect: Any) -> None:
    intents = discord.Intents(guilds=True, voice_states=True, message_content=True)
    with pytest.raises(discord.PrivilegedIntentsRequired):
        async with connect(standin, intents=intents):
            pass


async def test_refuses_too_few_shards(connect: Any) -> None:
    async with StandIn(sharding_required=2) as standin:
        with pytest.raises(discord.ConnectionClosed) as closed:
            async with connect(standin):
                pass
    assert closed.value.code == 4011


async def test_retries_until_port_opens(standin: StandIn, guild: Guild, connect: Any) -> None:
    async with connect(standin) as client:
        await standin.faults.refuse_connections()
        await standin.faults.drop()
        missed = await guild.join(guild.add_member("nelly"), guild.add_voice_channel("General"))
        await standin.faults.accept_connections()
        # discord.py drops its session when a connection is refused, and identifies again.
        await client.notifier.wait_for(
            lambda: bool(client.seen("RESUMED") or len(client.seen("READY")) > 1), TIMEOUT_S, "back again"
        )
        assert missed.reach == "buffered"


async def test_survives_rest_and_upgrade_failures(standin: StandIn, guild: Guild, connect: Any) -> None:
    standin.faults.fail_rest(1, 502)
    async with connect(standin) as client:
        standin.faults.fail_upgrades(1)
        await standin.faults.drop()
        await client.notifier.wait_for(
            lambda: bool(client.seen("RESUMED") or len(client.seen("READY")) > 1), TIMEOUT_S, "back again"
        )
    assert standin.counts["/users/@me"] == 2


async def test_burst_arrives_complete_and_ordered(standin: StandIn, connect: Any, compression: str) -> None:
    """20,000 events of 20 guilds, read in place of discord.py's own parser, which lags."""
    guilds = [standin.world.add_guild(f"Guild {n}") for n in range(20)]
    cast = [
        (guild, guild.add_voice_channel("a"), guild.add_voice_channel("b"), guild.add_member("nelly"))
        for guild in guilds
    ]
    for guild, first, _, nelly in cast:
        await guild.join(nelly, first)
    standin.sent.clear()
    seen: list[tuple[str, str, str]] = []
    async with connect(standin) as client:

        def read(data: Any) -> None:
            seen.append((data["guild_id"], data["user_id"], data["channel_id"]))
            client.notifier.notify()

        client._connection.parsers["VOICE_STATE_UPDATE"] = read
        for n in range(20_000):
            guild, *rooms, nelly = cast[n % 20]
            await guild.move(nelly, rooms[1 - n // 20 % 2])
        await client.notifier.wait_for(lambda: len(seen) >= 20_000, TIMEOUT_S, "the whole burst")
    assert seen == [(t.guild_id, t.user_id, t.channel_id) for t in standin.sent]
    assert standin.sent.reached == {"live": 20_000}
