"""The bot's gateway, the real discord.py under it, against the stand-in for Discord."""

import asyncio
import random
from typing import Any

import aiohttp
import pytest
from discord.gateway import DiscordWebSocket

from bot.errors import SettingsError, StartupError
from bot.voice.events import Event
from infra.local.discord import Channel, Guild, StandIn, Transition
from tests.integration.bot.gateway.watcher import TOKEN, Watcher, watching


def account(event: Event) -> tuple[Any, ...]:
    """What an event that was seen says, in the terms of the stand-in's own log."""
    assert event["type"] != "discord.voice.gap"
    data = event["data"]
    assert not data["inferred"]
    return (
        event["type"].removeprefix("discord.voice."),
        data["guild"]["id"],
        data["user"]["id"],
        data["channel"] and data["channel"]["id"],
        data["previous_channel"] and data["previous_channel"]["id"],
        dict(data["changes"]),
    )


def truth(transition: Transition) -> tuple[Any, ...]:
    changes = dict(transition.changes) if transition.kind in ("updated", "moved") else {}
    return (*transition[:5], changes)


async def wander(guild: Guild, channels: list[Channel], moves: int, rng: random.Random) -> None:
    """Let everybody of the guild do something *moves* times over."""
    members = list(guild.members.values())
    for _ in range(moves):
        member = rng.choice(members)
        state = guild.voice_states.get(member.id)
        if state is None:
            await guild.join(member, rng.choice(channels))
            continue
        match rng.randrange(4):
            case 0:
                await guild.leave(member)
            case 1:
                await guild.update(member, self_mute=rng.random() < 0.5, self_stream=rng.random() < 0.5)
            case _:
                await guild.move(member, rng.choice([one for one in channels if one is not state.channel]))


async def test_20_000_transitions_are_exact(standin: StandIn) -> None:
    guilds = []
    for number in range(20):
        guild = standin.world.add_guild(f"Guild {number}")
        channels = [guild.add_voice_channel(f"c{place}") for place in range(3)]
        for place in range(10):
            guild.add_member(f"user{number}x{place}")
        guilds.append((guild, channels))
    async with watching(standin) as watcher:
        await asyncio.gather(
            *(wander(guild, channels, 1100, random.Random(n)) for n, (guild, channels) in enumerate(guilds))
        )
        sent = list(standin.sent)
        assert len(sent) >= 20_000
        events = await watcher.wait_for(len(sent))
    for guild, _ in guilds:
        seen = [account(event) for event in events if event["data"]["guild"]["id"] == guild.id]
        assert seen == [truth(transition) for transition in sent if transition.guild_id == guild.id]
    assert len(events) == len(sent)
    assert len({event["id"] for event in events}) == len(sent)


async def test_burst_needs_no_timers(standin: StandIn, guild: Guild, monkeypatch: pytest.MonkeyPatch) -> None:
    """discord.py's and aiohttp's own names that this rests on are still what they were."""
    general, nelly = guild.add_voice_channel("General"), guild.add_member("a")
    timeouts: list[float | None] = []
    receive = aiohttp.ClientWebSocketResponse.receive

    async def count(socket: aiohttp.ClientWebSocketResponse, timeout: float | None = None) -> Any:  # noqa: ASYNC109  # aiohttp's
        timeouts.append(timeout)
        return await receive(socket, timeout)

    controls: list[str] = []
    received = DiscordWebSocket.received_message

    async def note(websocket: DiscordWebSocket, message: Any) -> None:
        controls.append(message)
        await received(websocket, message)

    monkeypatch.setattr(DiscordWebSocket, "received_message", note)
    async with watching(standin) as watcher:
        monkeypatch.setattr(aiohttp.ClientWebSocketResponse, "receive", count)
        await guild.join(nelly, general)
        for place in range(500):
            await guild.update(nelly, self_mute=place % 2 == 0)
        await watcher.wait_for(501)
    assert len(timeouts) < 100
    assert any(timeouts), "what is waited for is waited for with discord.py's timer"
    assert 0 < len(controls) < 10, "HELLO and heartbeats are discord.py's, dispatches are not"


async def test_resume_declares_no_gap(standin: StandIn, guild: Guild) -> None:
    """It replays what was missed."""
    general, nelly, other = guild.add_voice_channel("General"), guild.add_member("a"), guild.add_member("b")
    async with watching(standin) as watcher:
        await guild.join(nelly, general)
        await watcher.wait_for(1)
        await standin.faults.drop()
        await guild.join(other, general)
        await guild.leave(nelly)
        await watcher.wait_for(3)
        await standin.faults.reconnect()
        await guild.leave(other)
        await watcher.wait_for(4)
    assert watcher.kinds() == ["joined", "joined", "left", "left"]
    assert [account(event) for event in watcher.events] == [truth(sent) for sent in standin.sent]


async def test_lost_session_is_a_gap(standin: StandIn, guild: Guild) -> None:
    """What it hid is inferred."""
    general, nelly, other = guild.add_voice_channel("General"), guild.add_member("a"), guild.add_member("b")
    async with watching(standin) as watcher:
        await guild.join(nelly, general)
        await watcher.wait_for(1)
        await standin.faults.expire_sessions()
        await standin.faults.drop()
        await guild.leave(nelly)
        await guild.join(other, general)
        await watcher.wait_for(4)
    assert watcher.kinds() == ["joined", "gap", "left", "joined"]
    gap = watcher.events[1]
    assert gap["type"] == "discord.voice.gap"
    assert gap["data"]["reason"] == "session_lost"
    assert gap["data"]["from"] is not None
    assert gap["data"]["from"] <= gap["data"]["until"]


async def test_guild_outage_is_its_gap(standin: StandIn, guild: Guild) -> None:
    """No other guild has one."""
    elsewhere = standin.world.add_guild("Elsewhere")
    general, nelly = guild.add_voice_channel("General"), guild.add_member("a")
    async with watching(standin) as watcher:
        await guild.join(nelly, general)
        await guild.begin_outage()
        await guild.leave(nelly)
        await elsewhere.join(elsewhere.add_member("b"), elsewhere.add_voice_channel("c"))
        await guild.end_outage()
        await watcher.wait_for(4)
    assert watcher.kinds() == ["joined", "joined", "gap", "left"]
    assert watcher.events[2]["data"]["guild"]["id"] == guild.id
    gap = watcher.events[2]
    assert gap["type"] == "discord.voice.gap"
    assert gap["data"]["reason"] == "guild_unavailable"


async def test_learns_new_guild_silently(standin: StandIn) -> None:
    async with watching(standin) as watcher:
        late = standin.world.add_guild("Late", has_bot=False)
        general, nelly = late.add_voice_channel("General"), late.add_member("a")
        await late.join(nelly, general)
        await late.add_bot()
        await late.leave(nelly)
        await watcher.wait_for(1)
        await late.remove_bot()
        await late.add_bot()
        await late.join(nelly, general)
        await watcher.wait_for(2)
    assert watcher.kinds() == ["left", "joined"]


@pytest.mark.parametrize("fields", ["null", "absent"])
async def test_tells_transitions_in_hidden_channels(standin: StandIn, guild: Guild, fields: Any) -> None:
    general, secret = guild.add_voice_channel("General"), guild.add_voice_channel("Secret")
    secret.obfuscated = fields
    nelly = guild.add_member("a")
    async with watching(standin) as watcher:
        await guild.join(nelly, secret)
        await guild.hide_channel(general, fields)
        await guild.move(nelly, general)
        await guild.show_channel(general)
        await guild.delete_channel(general)
        await watcher.wait_for(3)
    assert watcher.kinds() == ["joined", "moved", "left"]
    named = [event["data"]["channel"] for event in watcher.events if event["type"] != "discord.voice.gap"]
    assert [channel and channel["name"] for channel in named] == [None, None, None]


async def test_odd_payloads_cost_nothing(standin: StandIn, guild: Guild) -> None:
    """Neither the connection nor a transition; a guild that no snapshot told of is not watched."""
    general, nelly = guild.add_voice_channel("General"), guild.add_member("a")
    unknown = {"guild_id": "999", "user_id": "5", "channel_id": "7", "session_id": "x"}
    async with watching(standin) as watcher:
        await guild.dispatch("VOICE_STATE_UPDATE", {})
        await guild.dispatch("GUILD_UPDATE", {"id": guild.id})
        await guild.dispatch("GUILD_ROLE_UPDATE", {"guild_id": guild.id, "role": {}})
        await guild.dispatch("STAGE_INSTANCE_CREATE", {"guild_id": guild.id})
        await guild.dispatch("CHANNEL_UPDATE", {"guild_id": guild.id, "id": general.id, "type": 2})
        await guild.dispatch("SOMETHING_NEW", {"guild_id": guild.id})
        await guild.dispatch("VOICE_STATE_UPDATE", unknown)
        await guild.join(nelly, general, without=["member", "session_id", "self_mute"])
        await guild.leave(nelly, without=["member"])
        await watcher.wait_for(2)
    assert watcher.kinds() == ["joined", "left"]
    assert standin.counts["identified"] == 1


async def test_runs_several_shards() -> None:
    async with StandIn(token=TOKEN, shards=2) as standin:
        guilds = [standin.world.add_guild(f"g{number}") for number in range(6)]
        async with watching(standin) as watcher:
            assert watcher.gateway.not_ready() == []
            for guild in guilds:
                await guild.join(guild.add_member("a"), guild.add_voice_channel("c"))
            await watcher.wait_for(6)
            watched = watcher.gateway.watched_until()
            assert (watched.shard_count, set(watched.until_ms), set(watched.shard_ids)) == (2, {0, 1}, {0, 1})
            await standin.faults.expire_sessions(shard=1)
            await standin.faults.drop(shard=1)
            await watcher.wait(lambda: "gap" in watcher.kinds())
        gaps = {
            event["data"]["guild"]["id"] for event in watcher.events if event["type"] == "discord.voice.gap"
        }
        assert gaps <= {guild.id for guild in guilds if (int(guild.id) >> 22) % 2 == 1}


async def test_refused_token_is_settings_error(standin: StandIn) -> None:
    with pytest.raises(SettingsError, match="VOICE_RELAY_DISCORD_TOKEN"):
        await Watcher(api_url=standin.api_url).gateway.run("wrong")


@pytest.mark.parametrize(
    ("code", "error"),
    [(4004, SettingsError), (4010, StartupError), (4013, StartupError), (4014, StartupError)],
)
async def test_fatal_close_ends_the_run(
    standin: StandIn, guild: Guild, code: int, error: type[Exception]
) -> None:
    async with watching(standin) as watcher:
        await standin.faults.close(code)
        with pytest.raises(error):
            await watcher.task


async def test_waits_while_discord_is_down(standin: StandIn, guild: Guild) -> None:
    standin.faults.fail_rest(1, status=400)
    async with watching(standin) as watcher:
        await guild.join(guild.add_member("a"), guild.add_voice_channel("c"))
        await watcher.wait_for(1)
    assert watcher.kinds() == ["joined"]
