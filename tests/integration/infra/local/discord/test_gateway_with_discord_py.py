"""The stand-in's gateway, as the real AutoShardedClient sees it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import discord
import pytest

from infra.local.discord import Flag, Guild, StandIn, Transition
from infra.local.discord.model import NO_FLAGS

TIMEOUT_S = 20.0


@pytest.fixture
async def standin() -> AsyncIterator[StandIn]:
    async with StandIn(token="right") as standin:
        yield standin


@pytest.fixture
def guild(standin: StandIn) -> Guild:
    return standin.world.add_guild("Base")


def summary(update: Any) -> tuple[str, str | None, bool]:
    return update["user_id"], update["channel_id"], update["self_mute"]


async def test_client_sees_guilds_channels_and_who_is_in_voice(
    standin: StandIn, guild: Guild, connect: Any
) -> None:
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


async def test_every_transition_arrives_in_order(
    standin: StandIn, guild: Guild, connect: Any, compression: str
) -> None:
    """Join, switches, move and leave, with either compression, and the log says what was sent."""
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


async def test_two_shards_hear_of_their_own_guilds_only(connect: Any) -> None:
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
async def test_dropped_connection_resumes_with_what_happened_meanwhile(
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


async def test_frame_cut_in_the_middle_is_replayed_once(
    standin: StandIn, guild: Guild, connect: Any, compression: str
) -> None:
    general, nelly = guild.add_voice_channel("General"), guild.add_member("nelly")
    async with connect(standin) as client:
        await standin.faults.cut_frame()
        await guild.join(nelly, general)
        await client.wait_seen("RESUMED")
        assert len(client.seen("VOICE_STATE_UPDATE")) == 1


async def test_unresumable_invalidation_makes_a_new_session(
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


async def test_expired_session_is_refused_and_identified_anew(
    standin: StandIn, guild: Guild, connect: Any
) -> None:
    async with connect(standin) as client:
        await standin.faults.expire_sessions()
        await standin.faults.drop()
        await client.wait_seen("READY", 2)
        assert standin.counts["resume_refused"] == 1


async def test_replay_buffer_that_overflowed_refuses_to_resume(connect: Any) -> None:
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
async def test_server_close_code_decides_whether_the_session_lives(
    standin: StandIn, guild: Guild, connect: Any, code: int, resumes: bool
) -> None:
    async with connect(standin) as client:
        await standin.faults.close(code)
        await client.wait_seen("RESUMED" if resumes else "READY", 1 if resumes else 2)


async def test_client_that_closes_ends_its_session(standin: StandIn, guild: Guild, connect: Any) -> None:
    async with connect(standin):
        pass
    await standin.wait_disconnected(TIMEOUT_S)
    assert (await guild.join(guild.add_member("nelly"), guild.add_voice_channel("General"))).reach == "unseen"


async def test_requested_heartbeat_is_sent_at_once(standin: StandIn, guild: Guild, connect: Any) -> None:
    async with connect(standin):
        before = standin.counts["heartbeat"]
        await standin.faults.request_heartbeat()
        await standin.wait_until(lambda: standin.counts["heartbeat"] > before, TIMEOUT_S)


async def test_silence_after_heartbeats_makes_the_client_resume(connect: Any) -> None:
    async with StandIn(heartbeat_interval_s=0.2) as standin:
        standin.world.add_guild("Base")
        async with connect(standin) as client:
            # discord.py gives a silent gateway a minute by default.
            client.shards[0]._parent.ws._keep_alive.heartbeat_timeout = 0.5
            standin.faults.stop_acks()
            await standin.wait_until(lambda: standin.counts["connected"] > 1, TIMEOUT_S)
            standin.faults.resume_acks()
            await client.wait_seen("RESUMED")


async def test_wrong_token_is_a_login_failure(standin: StandIn, connect: Any) -> None:
    standin.token = "wrong"
    with pytest.raises(discord.LoginFailure):
        async with connect(standin):
            pass


async def test_privileged_intents_are_disallowed(standin: StandIn, connect: Any) -> None:
    intents = discord.Intents(guilds=True, voice_states=True, message_content=True)
    with pytest.raises(discord.PrivilegedIntentsRequired):
        async with connect(standin, intents=intents):
            pass


async def test_too_few_shards_are_refused(connect: Any) -> None:
    async with StandIn(sharding_required=2) as standin:
        with pytest.raises(discord.ConnectionClosed) as closed:
            async with connect(standin):
                pass
    assert closed.value.code == 4011


async def test_outage_and_return(standin: StandIn, guild: Guild, connect: Any) -> None:
    general, nelly = guild.add_voice_channel("General"), guild.add_member("nelly")
    async with connect(standin) as client:
        await guild.begin_outage()
        unseen = await guild.join(nelly, general)
        await guild.end_outage()
        created = await client.wait_seen("GUILD_CREATE", 2)
        assert unseen.reach == "unseen"
        assert client.seen("GUILD_DELETE") == [{"id": guild.id, "unavailable": True}]
        assert [state["user_id"] for state in created[1]["voice_states"]] == [nelly.id]
        assert created[1]["unavailable"] is False


async def test_bot_is_removed_from_and_added_to_a_guild(standin: StandIn, guild: Guild, connect: Any) -> None:
    async with connect(standin) as client:
        await guild.remove_bot()
        assert await client.wait_seen("GUILD_DELETE") == [{"id": guild.id}]
        await guild.add_bot()
        await client.wait_seen("GUILD_CREATE", 2)
        assert [g.name for g in client.guilds] == ["Base"]


async def test_events_of_a_guild_still_to_come_wait_in_its_snapshot(standin: StandIn, connect: Any) -> None:
    """While GUILD_CREATEs are slow, nobody hears of a guild that was not yet handed over."""
    guilds = [standin.world.add_guild(f"Guild {n}") for n in range(2)]
    late = guilds[1]
    general, nelly = late.add_voice_channel("General"), late.add_member("nelly")
    standin.faults.delay_guilds(0.2)
    joined: list[Transition] = []

    async def join_early() -> None:
        await standin.wait_until(lambda: standin.counts.get("identified", 0) > 0, TIMEOUT_S)
        joined.append(await late.join(nelly, general))

    early = asyncio.create_task(join_early())
    async with connect(standin) as client:
        await early
        assert joined[0].reach == "unseen"
        assert client.seen("VOICE_STATE_UPDATE") == []
        assert [len(data["voice_states"]) for data in client.seen("GUILD_CREATE")] == [0, 1]


async def test_channels_come_change_hide_and_go(standin: StandIn, guild: Guild, connect: Any) -> None:
    """Obfuscated with nulls, discord.py carries on; a person in a deleted channel leaves after it."""
    nelly = guild.add_member("nelly")
    async with connect(standin) as client:
        den = await guild.create_channel("Den", guild.add_voice_channel("x").type)
        await guild.rename_channel(den, "Nest")
        await guild.join(nelly, den)
        await guild.hide_channel(den)
        hidden = (await client.wait_seen("CHANNEL_UPDATE", 2))[1]
        assert (hidden["name"], hidden["flags"], hidden["bitrate"]) == ("___hidden___", 1 << 17, None)
        assert client.get_guild(int(guild.id)).get_channel(int(den.id)).name == "___hidden___"
        await guild.show_channel(den)
        await guild.delete_channel(den)
        await client.wait_seen("VOICE_STATE_UPDATE", 2)
        assert [event for event, _ in client.frames][2:] == [
            "CHANNEL_CREATE",
            "CHANNEL_UPDATE",
            "VOICE_STATE_UPDATE",
            "CHANNEL_UPDATE",
            "CHANNEL_UPDATE",
            "CHANNEL_DELETE",
            "VOICE_STATE_UPDATE",
        ]


async def test_obfuscated_channel_without_its_fields_ends_discord_py_but_not_the_server(
    standin: StandIn, guild: Guild, connect: Any
) -> None:
    """discord.py 2.7 reads a voice channel's bitrate without a default; the next client is served as ever."""
    den = guild.add_voice_channel("Den")
    async with connect(standin) as client:
        await guild.hide_channel(den, "absent")
        await standin.wait_until(lambda: not standin.live_sessions, TIMEOUT_S)
        assert client.is_closed()
    await guild.show_channel(den)
    async with connect(standin) as client:
        assert client.get_guild(int(guild.id)).get_channel(int(den.id)).name == "Den"


async def test_odd_payloads_pass_as_they_are(standin: StandIn, guild: Guild, connect: Any) -> None:
    general, nelly = guild.add_voice_channel("General"), guild.add_member("nelly")
    async with connect(standin) as client:
        await guild.join(nelly, general, without=("member", "self_video"))
        stranger = {"guild_id": "1", "user_id": "2", "channel_id": "3"}
        assert await guild.dispatch("VOICE_STATE_UPDATE", stranger) == "live"
        await guild.dispatch("MADE_UP", {"x": 1})
        newcomer = standin.world.add_guild("Unknown")
        await newcomer.join(newcomer.add_member("finn"), newcomer.add_voice_channel("Hall"))
        updates = await client.wait_seen("VOICE_STATE_UPDATE", 3)
    assert "member" not in updates[0]
    assert "self_video" not in updates[0]
    assert updates[1] == stranger
    assert updates[2]["guild_id"] == newcomer.id


async def test_refused_connection_is_retried_until_the_port_opens(
    standin: StandIn, guild: Guild, connect: Any
) -> None:
    async with connect(standin) as client:
        await standin.faults.refuse_connections()
        await standin.faults.drop()
        missed = await guild.join(guild.add_member("nelly"), guild.add_voice_channel("General"))
        await standin.faults.accept_connections()
        # discord.py forgets its session when a connection is refused, and identifies anew.
        await client.notifier.wait_for(
            lambda: bool(client.seen("RESUMED") or len(client.seen("READY")) > 1), TIMEOUT_S, "back again"
        )
        assert missed.reach == "buffered"


async def test_rest_and_upgrade_failures_are_survived(standin: StandIn, guild: Guild, connect: Any) -> None:
    standin.faults.fail_rest(1, 502)
    async with connect(standin) as client:
        standin.faults.fail_upgrades(1)
        await standin.faults.drop()
        await client.notifier.wait_for(
            lambda: bool(client.seen("RESUMED") or len(client.seen("READY")) > 1), TIMEOUT_S, "back again"
        )
    assert standin.counts["/users/@me"] == 2


async def test_burst_of_twenty_thousand_arrives_whole_and_in_order(
    standin: StandIn, connect: Any, compression: str
) -> None:
    """20 guilds, as fast as the client takes them; read in place of discord.py's own parser, which lags."""
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
