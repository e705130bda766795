"""Guild and channel events of the stand-in, as the real discord.py sees them."""

import asyncio
from typing import Any

from infra.local.discord import Guild, StandIn, Transition

TIMEOUT_S = 20.0


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


async def test_bot_is_removed_and_added(standin: StandIn, guild: Guild, connect: Any) -> None:
    async with connect(standin) as client:
        await guild.remove_bot()
        assert await client.wait_seen("GUILD_DELETE") == [{"id": guild.id}]
        await guild.add_bot()
        await client.wait_seen("GUILD_CREATE", 2)
        assert [g.name for g in client.guilds] == ["Base"]


async def test_pending_guild_sends_only_its_snapshot(standin: StandIn, connect: Any) -> None:
    """Before its delayed GUILD_CREATE, a guild sends no other event."""
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


async def test_channel_lifecycle(standin: StandIn, guild: Guild, connect: Any) -> None:
    """discord.py accepts channels obfuscated with nulls; members leave a deleted channel after it."""
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


async def test_absent_channel_fields_end_discord_py(standin: StandIn, guild: Guild, connect: Any) -> None:
    """discord.py 2.7 requires a voice channel's bitrate; the next client still works."""
    den = guild.add_voice_channel("Den")
    async with connect(standin) as client:
        await guild.hide_channel(den, "absent")
        await standin.wait_until(lambda: not standin.live_sessions, TIMEOUT_S)
        assert client.is_closed()
    await guild.show_channel(den)
    async with connect(standin) as client:
        assert client.get_guild(int(guild.id)).get_channel(int(den.id)).name == "Den"


async def test_odd_payloads_pass_unchanged(standin: StandIn, guild: Guild, connect: Any) -> None:
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
