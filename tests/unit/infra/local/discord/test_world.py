"""Guild operations and the events they publish, recorded in a list instead of sent to sessions."""

from typing import Any

import orjson
import pytest

from infra.local.discord import Flag, TransitionLog, World
from infra.local.discord.snowflakes import Snowflakes, shard_of
from infra.local.discord.transitions import Reach


class Publisher:
    """Records published events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def publish(self, guild_id: str, event: str, data: bytes) -> Reach:
        self.events.append((event, orjson.loads(data)))
        return "live"

    async def wait_for_room(self) -> None:
        pass


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture
def world(publisher: Publisher) -> World:
    return World(publisher=publisher, log=TransitionLog(), snowflakes=Snowflakes(), clock=lambda: 12.5)


async def test_voice_state_has_every_field(world: World, publisher: Publisher) -> None:
    guild = world.add_guild("Base")
    role = guild.add_role("Mods")
    nelly = guild.add_member('ne"lly', "Nelly ☕", nick="Nell", roles=[role])
    general = guild.add_voice_channel("General")
    await guild.join(nelly, general, self_video=True, mute=True)
    [(event, data)] = publisher.events
    assert event == "VOICE_STATE_UPDATE"
    member = data.pop("member")
    assert data == {
        "guild_id": guild.id,
        "channel_id": general.id,
        "user_id": nelly.id,
        "session_id": "0" * 31 + "1",
        "deaf": False,
        "mute": True,
        "self_deaf": False,
        "self_mute": False,
        "self_video": True,
        "suppress": False,
        "request_to_speak_timestamp": None,
    }
    assert (member["mute"], member["deaf"], member["flags"], member["avatar"]) == (True, False, 0, None)
    assert (member["nick"], member["roles"]) == ("Nell", [role.id])
    assert (member["user"]["username"], member["user"]["global_name"]) == ('ne"lly', "Nelly ☕")


async def test_server_mute_persists(world: World, publisher: Publisher) -> None:
    """Server mute persists when the member leaves voice; the member's own flags reset."""
    guild = world.add_guild("Base")
    general, nelly = guild.add_voice_channel("General"), guild.add_member("nelly")
    await guild.join(nelly, general, self_mute=True)
    await guild.update(nelly, mute=True)
    await guild.leave(nelly)
    await guild.join(nelly, general)
    back = publisher.events[-1][1]
    assert (back["mute"], back["self_mute"], back["member"]["mute"]) == (True, False, True)
    assert guild.voice_states[nelly.id].flags == Flag.MUTE


async def test_snapshot_has_bot_and_voice_members(world: World) -> None:
    guild = world.add_guild("Base")
    general = guild.add_voice_channel("General", guild.add_category("Rooms"))
    nelly, _absent = guild.add_member("nelly"), guild.add_member("finn")
    await guild.join(nelly, general, self_stream=True)
    snapshot = orjson.loads(guild.build_snapshot())
    assert [member["user"]["id"] for member in snapshot["members"]] == [world.bot.id, nelly.id]
    assert (snapshot["member_count"], snapshot["unavailable"]) == (3, False)
    [state] = snapshot["voice_states"]
    assert (state["channel_id"], state["self_stream"]) == (general.id, True)
    assert not state.keys() & {"guild_id", "member"}
    assert snapshot["channels"][1]["parent_id"] == snapshot["channels"][0]["id"]


async def test_refuses_impossible_operations(world: World, publisher: Publisher) -> None:
    guild = world.add_guild("Base")
    general, nelly = guild.add_voice_channel("General"), guild.add_member("nelly")
    for operation in (guild.leave(nelly), guild.move(nelly, general), guild.update(nelly, mute=True)):
        with pytest.raises(ValueError, match="in no channel"):
            await operation
    await guild.join(nelly, general)
    with pytest.raises(ValueError, match="already"):
        await guild.join(nelly, general)
    with pytest.raises(ValueError, match="already"):
        await guild.move(nelly, general)
    with pytest.raises(KeyError):
        await guild.update(nelly, shouting=True)
    assert len(publisher.events) == len(world.log) == 1


async def test_unavailable_guild_publishes_nothing(world: World, publisher: Publisher) -> None:
    """A guild in an outage, or without the bot, publishes no voice states."""
    guild = world.add_guild("Base")
    general, nelly = guild.add_voice_channel("General"), guild.add_member("nelly")
    await guild.begin_outage()
    assert (await guild.join(nelly, general)).reach == "unseen"
    await guild.end_outage()
    await guild.remove_bot()
    assert (await guild.leave(nelly)).reach == "unseen"
    assert [event for event, _ in publisher.events] == ["GUILD_DELETE", "GUILD_CREATE", "GUILD_DELETE"]


async def test_log_keeps_last_and_counts_all(publisher: Publisher) -> None:
    world = World(publisher=publisher, log=TransitionLog(limit=2), snowflakes=Snowflakes())
    guild = world.add_guild("Base")
    general, nelly = guild.add_voice_channel("General"), guild.add_member("nelly")
    for _ in range(2):
        await guild.join(nelly, general)
        await guild.leave(nelly)
    assert [transition.kind for transition in world.log] == ["joined", "left"]
    assert world.log.reached == {"live": 4}


async def test_user_in_several_guilds(world: World) -> None:
    one, two = world.add_guild("One"), world.add_guild("Two")
    nelly = one.add_member("nelly", "Nelly")
    assert two.add_member(nelly.user, nick="N").id == nelly.id
    assert world.user_name(nelly.id) == "Nelly"
    assert world.user_name("1") is None


def test_ids_are_reproducible_and_distinct() -> None:
    """Ids are the same on every run, and differ by kind and seed."""
    kinds = ("guild", "channel", "user", "role", "webhook", "message", "application")

    def make(seed: int) -> list[str]:
        snowflakes = Snowflakes(seed)
        return [snowflakes.make(kind) for kind in kinds for _ in range(3)]

    assert make(1) == make(1)
    assert len({*make(0), *make(1)}) == 2 * 3 * len(kinds)
    with pytest.raises(ValueError, match="seed"):
        Snowflakes(5000)


@pytest.mark.parametrize("shards", [1, 2, 3, 5])
def test_consecutive_guilds_alternate_shards(shards: int) -> None:
    snowflakes = Snowflakes()
    found = [shard_of(int(snowflakes.make("guild")), shards) for _ in range(shards * 2)]
    assert found == list(range(shards)) * 2
