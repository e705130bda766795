"""Every action against Discord's stand-in: what it does, what a repeat does, and each refusal by name."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from bot.actions.catalogue import ACTIONS, Output
from bot.actions.people import People
from bot.actions.performer import Performer
from bot.actions.refusal import ActionError
from bot.actions.rest import Rest
from bot.voice.occupancy import GuildOccupancy, Occupant
from infra.local.discord import (
    AuditEntry,
    Channel,
    Flag,
    Guild,
    Member,
    Message,
    Overwrite,
    Permission,
    RateLimit,
    StandIn,
)

TOKEN = "right"
EXECUTION = "01JD0000000000000000000000"
NOWHERE = "1"
POST = "POST /channels/{channel}/messages"
CARD = {
    "content": "Nelly is waiting, @everyone",
    "embeds": [{"title": "Waiting room", "fields": [{"name": "since", "value": "a minute"}]}],
    "buttons": [
        {"label": "Admit", "style": "success", "signal": "admit"},
        {"label": "Decline", "style": "danger", "signal": "decline", "disabled": True},
    ],
}


class Bot:
    """Performs actions in the stand-in's guild *base*, of which it watches the occupancy."""

    def __init__(self, rest: Rest, standin: StandIn, base: Guild) -> None:
        self.standin = standin
        self.base = base
        self.watched = True
        self._performer = Performer(rest, People(self._find_watched), ACTIONS)
        self._keys = 0

    async def __call__(self, action: str, *, key: str | None = None, **given: Any) -> Output:
        self._keys += 1
        task = {"action": action, "key": key or f"{EXECUTION}:{self._keys}", **given}
        return await self._performer.perform(orjson.dumps(task).decode())

    async def refused(self, action: str, **given: Any) -> str:
        with pytest.raises(ActionError) as refusal:
            await self(action, **given)
        return refusal.value.name

    def person(self, member: Member) -> dict[str, str]:
        return {"guild_id": self.base.id, "user_id": member.id}

    def _find_watched(self, guild_id: str) -> GuildOccupancy | None:
        if not self.watched or guild_id != self.base.id:
            return None
        occupancy = GuildOccupancy({"id": guild_id, "name": "Base"}, watched=True)
        for user_id, state in self.base.voice_states.items():
            user = {"id": user_id, "name": None, "display_name": None, "bot": False}
            occupancy.put(Occupant(user, state.channel.id, None, 0))  # type: ignore[arg-type]
        return occupancy


@pytest.fixture
async def standin() -> AsyncIterator[StandIn]:
    async with StandIn(token=TOKEN) as standin:
        yield standin


@pytest.fixture
async def bot(standin: StandIn) -> AsyncIterator[Bot]:
    async with Rest(standin.api_url, SecretStr(TOKEN)) as rest:
        yield Bot(rest, standin, standin.world.add_guild("Base"))


@pytest.fixture
def lounge(bot: Bot) -> Channel:
    return bot.base.add_voice_channel("Lounge")


@pytest.fixture
def staff(bot: Bot) -> Channel:
    return bot.base.add_text_channel("Staff")


@pytest.fixture
async def nelly(bot: Bot) -> Member:
    """Somebody in the waiting room."""
    nelly = bot.base.add_member("nelly")
    await bot.base.join(nelly, bot.base.add_voice_channel("Waiting room"))
    return nelly


def _forbid(bot: Bot, permission: Permission) -> None:
    bot.base.bot_role.permissions &= ~permission


# --- people


async def test_finds_person(bot: Bot, nelly: Member) -> None:
    waiting = bot.base.voice_states[nelly.id].channel

    assert await bot("find_person", **bot.person(nelly)) == {"channel_id": waiting.id}
    await bot.base.leave(nelly)
    assert await bot("find_person", **bot.person(nelly)) == {"channel_id": None}


async def test_finds_person_in_unwatched_server(bot: Bot, nelly: Member) -> None:
    """Another process of the same bot may watch it, or its connection may be down."""
    waiting = bot.base.voice_states[nelly.id].channel
    bot.watched = False

    assert await bot("find_person", **bot.person(nelly)) == {"channel_id": waiting.id}
    await bot.base.leave(nelly)
    assert await bot("find_person", **bot.person(nelly)) == {"channel_id": None}


async def test_moves_only_from_there_in_unwatched_server(bot: Bot, nelly: Member, lounge: Channel) -> None:
    waiting = bot.base.voice_states[nelly.id].channel
    bot.watched = False
    there = bot.person(nelly) | {"channel_id": lounge.id}

    assert await bot.refused("move", **there, from_channel_id=lounge.id) == "Discord.NotInVoice"
    assert bot.base.people_in(waiting) == [nelly]
    for _ in range(2):
        # The second is a repeat, after a worker that died before its report.
        assert await bot("move", **there, from_channel_id=waiting.id) == {"channel_id": lounge.id}
        assert bot.base.people_in(lounge) == [nelly]
    assert len(bot.standin.door.calls) == 1


async def test_lists_channel(bot: Bot, nelly: Member, lounge: Channel) -> None:
    tom, eve = bot.base.add_member("tom"), bot.base.add_member("eve")
    await bot.base.join(tom, lounge)
    await bot.base.join(eve, lounge)

    listed = await bot("list_channel", guild_id=bot.base.id, channel_id=lounge.id)

    assert listed == {"user_ids": [tom.id, eve.id]}


async def test_moves_once(bot: Bot, nelly: Member, lounge: Channel) -> None:
    for _ in range(2):
        moved = await bot(
            "move", key=f"{EXECUTION}:move", reason="by Tom ☕", channel_id=lounge.id, **bot.person(nelly)
        )
        assert moved == {"channel_id": lounge.id}

    assert bot.base.people_in(lounge) == [nelly]
    assert bot.base.audit_log == [AuditEntry("member_move", None, "by Tom ☕", {"channel_id": lounge.id})]


async def test_moves_who_is_not_watched(bot: Bot, nelly: Member, lounge: Channel) -> None:
    """Discord decides where somebody is; the relay's own table only spares a request."""
    bot.watched = False
    await bot("move", channel_id=lounge.id, **bot.person(nelly))

    assert bot.base.people_in(lounge) == [nelly]


@pytest.mark.parametrize("action", ["move", "disconnect"])
async def test_leaves_alone_who_has_gone_on(bot: Bot, nelly: Member, lounge: Channel, action: str) -> None:
    """Somebody who went elsewhere by themselves is not fetched back."""
    waiting = bot.base.voice_states[nelly.id].channel
    stage = bot.base.add_voice_channel("Stage")
    await bot.base.move(nelly, stage)
    target = {"channel_id": lounge.id} if action == "move" else {}

    name = await bot.refused(action, from_channel_id=waiting.id, **target, **bot.person(nelly))

    assert name == "Discord.NotInVoice"
    assert bot.base.people_in(stage) == [nelly]


async def test_moves_from_the_expected_channel(bot: Bot, nelly: Member, lounge: Channel) -> None:
    waiting = bot.base.voice_states[nelly.id].channel
    for _ in range(2):
        await bot("move", from_channel_id=waiting.id, channel_id=lounge.id, **bot.person(nelly))

    assert bot.base.people_in(lounge) == [nelly]


async def test_disconnects(bot: Bot, nelly: Member) -> None:
    """A repeat finds nobody to disconnect, which is what was wanted."""
    for _ in range(2):
        assert await bot("disconnect", reason="declined", **bot.person(nelly)) == {}

    assert nelly.id not in bot.base.voice_states
    assert bot.base.audit_log == [AuditEntry("member_disconnect", None, "declined", {})]


@pytest.mark.parametrize(("action", "flag"), [("mute", Flag.MUTE), ("deafen", Flag.DEAF)])
async def test_mutes_and_deafens(bot: Bot, nelly: Member, action: str, flag: Flag) -> None:
    for on in (True, True, False):
        assert await bot(action, on=on, **bot.person(nelly)) == {}
        assert bool(bot.base.voice_states[nelly.id].flags & flag) is on


async def test_changes_roles(bot: Bot, nelly: Member) -> None:
    role = bot.base.add_role("guest")
    for _ in range(2):
        assert await bot("add_role", role_id=role.id, reason="admitted", **bot.person(nelly)) == {}
    assert list(nelly.role_ids) == [role.id]
    for _ in range(2):
        assert await bot("remove_role", role_id=role.id, **bot.person(nelly)) == {}
    assert list(nelly.role_ids) == []
    assert [entry.reason for entry in bot.base.audit_log] == ["admitted", None]


# --- messages


async def _send(bot: Bot, channel: Channel, message: dict[str, Any] = CARD) -> Message:
    sent = await bot("send", channel_id=channel.id, message=message)
    return bot.standin.chat.by_id[sent["message_id"]]


async def test_sends_card(bot: Bot, staff: Channel) -> None:
    sent = await _send(bot, staff)

    assert (sent.content, sent.channel_id) == (CARD["content"], staff.id)
    assert sent.body["embeds"][0]["title"] == "Waiting room"
    assert [(each["custom_id"], each["style"], each["disabled"]) for each in sent.buttons] == [
        (f"signal:admit:{EXECUTION}", 3, False),
        (f"signal:decline:{EXECUTION}", 4, True),
    ]
    assert sent.pings == []


async def test_mentions_only_who_is_named(bot: Bot, staff: Channel, nelly: Member) -> None:
    role = bot.base.add_role("staff")
    text = f"<@&{role.id}> <@{nelly.id}> @everyone"

    sent = await _send(bot, staff, {"content": text, "mention_roles": [role.id]})

    assert sent.body["allowed_mentions"] == {"parse": [], "users": [], "roles": [role.id]}
    assert sent.pings == [f"&{role.id}"]


@pytest.mark.parametrize("action", ["send", "direct_message"])
async def test_repeated_key_sends_once(bot: Bot, staff: Channel, nelly: Member, action: str) -> None:
    to = {"channel_id": staff.id} if action == "send" else {"user_id": nelly.id}
    first, again = [
        await bot(action, key=f"{EXECUTION}:card", message={"content": "hello"}, **to) for _ in range(2)
    ]
    other = await bot(action, key=f"{EXECUTION}:other", message={"content": "hello"}, **to)

    assert first == again != other
    assert len(bot.standin.chat.by_id) == 2


async def test_edits_only_what_is_given(bot: Bot, staff: Channel) -> None:
    sent = await _send(bot, staff)
    place = {"channel_id": staff.id, "message_id": sent.id}

    assert await bot("edit", message={"content": "Admitted", "buttons": []}, **place) == place

    assert (sent.content, sent.buttons) == ("Admitted", [])
    assert sent.body["embeds"][0]["title"] == "Waiting room"


async def test_deletes_message(bot: Bot, staff: Channel) -> None:
    sent = await _send(bot, staff)
    for _ in range(2):
        assert await bot("delete", channel_id=staff.id, message_id=sent.id) == {}

    assert bot.standin.chat.messages(staff) == []


async def test_writes_direct_message(bot: Bot, nelly: Member) -> None:
    await bot("direct_message", user_id=nelly.id, message={"content": "Please wait."})

    assert [each.content for each in bot.standin.chat.private_messages(nelly.user)] == ["Please wait."]


# --- refusals


@pytest.mark.parametrize(
    ("action", "given", "permission"),
    [
        ("move", {}, Permission.MOVE_MEMBERS),
        ("disconnect", {}, Permission.MOVE_MEMBERS),
        ("mute", {"on": True}, Permission.MUTE_MEMBERS),
        ("deafen", {"on": True}, Permission.DEAFEN_MEMBERS),
        ("add_role", {}, Permission.MANAGE_ROLES),
        ("remove_role", {}, Permission.MANAGE_ROLES),
    ],
)
async def test_missing_permission_of_server(
    bot: Bot, nelly: Member, lounge: Channel, action: str, given: dict[str, Any], permission: Permission
) -> None:
    """Each action needs the permission that the catalogue names, and works with it."""
    role = bot.base.add_role("guest")
    if action == "move":
        given = {"channel_id": lounge.id}
    elif "role" in action:
        given = {"role_id": role.id}
    if action == "remove_role":
        bot.base.set_roles(nelly, [role.id])
    _forbid(bot, permission)
    assert await bot.refused(action, **given, **bot.person(nelly)) == "Discord.MissingPermissions"

    bot.base.bot_role.permissions |= permission
    await bot(action, **given, **bot.person(nelly))
    assert (permission.name or "").replace("_", " ").title() in ACTIONS[action].permissions


async def test_role_above_the_bot(bot: Bot, nelly: Member) -> None:
    role = bot.base.add_role("owner", above_bot=True)

    assert await bot.refused("add_role", role_id=role.id, **bot.person(nelly)) == "Discord.MissingPermissions"


async def test_missing_permission_of_channel(bot: Bot, staff: Channel) -> None:
    sent = await _send(bot, staff)
    staff.overwrites[bot.base.bot_role.id] = Overwrite(deny=Permission.SEND_MESSAGES)
    assert await bot.refused("send", channel_id=staff.id, message=CARD) == "Discord.MissingPermissions"
    staff.overwrites[bot.base.bot_role.id] = Overwrite(deny=Permission.VIEW_CHANNEL)
    for action, given in (
        ("send", {"message": CARD}),
        ("edit", {"message": {"content": "x"}, "message_id": sent.id}),
        ("delete", {"message_id": sent.id}),
    ):
        assert await bot.refused(action, channel_id=staff.id, **given) == "Discord.MissingAccess"


@pytest.mark.parametrize("action", ["move", "mute", "deafen"])
async def test_who_is_not_in_voice(bot: Bot, nelly: Member, lounge: Channel, action: str) -> None:
    await bot.base.leave(nelly)
    given = {"channel_id": lounge.id} if action == "move" else {"on": True}

    assert await bot.refused(action, **given, **bot.person(nelly)) == "Discord.NotInVoice"


async def test_unknown_places_and_people(
    bot: Bot, nelly: Member, lounge: Channel, staff: Channel, standin: StandIn
) -> None:
    elsewhere = standin.world.add_guild("Elsewhere").add_member("eve")
    who = bot.person(nelly)
    refused = {
        "server": await bot.refused("mute", on=True, guild_id=NOWHERE, user_id=nelly.id),
        "member": await bot.refused("mute", on=True, **bot.person(elsewhere)),
        "user": await bot.refused("mute", on=True, guild_id=bot.base.id, user_id=NOWHERE),
        "role": await bot.refused("add_role", role_id=NOWHERE, **who),
        "voice channel": await bot.refused("move", channel_id=NOWHERE, **who),
        "channel": await bot.refused("send", channel_id=NOWHERE, message=CARD),
        "message": await bot.refused("edit", channel_id=staff.id, message_id=NOWHERE, message=CARD),
        "recipient": await bot.refused("direct_message", user_id=NOWHERE, message=CARD),
        "no voice": await bot.refused("move", channel_id=staff.id, **who),
    }

    assert refused == {
        "server": "Discord.UnknownGuild",
        "member": "Discord.UnknownMember",
        "user": "Discord.UnknownUser",
        "role": "Discord.UnknownRole",
        "voice channel": "Discord.UnknownChannel",
        "channel": "Discord.UnknownChannel",
        "message": "Discord.UnknownMessage",
        "recipient": "Discord.UnknownUser",
        "no voice": "Discord.Refused",
    }


async def test_who_takes_no_direct_messages(bot: Bot, nelly: Member) -> None:
    nelly.user.accepts_dms = False

    name = await bot.refused("direct_message", user_id=nelly.id, message=CARD)

    assert name == "Discord.CannotMessageUser"


async def test_cause_has_discords_words(bot: Bot, staff: Channel) -> None:
    """They name the field, but never repeat a text."""
    message = {"embeds": [{"title": "t", "timestamp": "yesterday"}]}

    with pytest.raises(ActionError) as refusal:
        await bot("send", channel_id=staff.id, message=message)

    assert refusal.value.name == "Discord.Refused"
    assert refusal.value.cause.startswith(
        "Discord answered 400 (50035): Invalid Form Body (embeds.0.timestamp"
    )


async def test_refused_token(standin: StandIn) -> None:
    async with Rest(standin.api_url, SecretStr("wrong")) as rest:
        bot = Bot(rest, standin, standin.world.add_guild("Base"))
        with pytest.raises(ActionError) as refusal:
            await bot("send", channel_id=NOWHERE, message=CARD)

    assert (refusal.value.name, refusal.value.cause) == (
        "Discord.Refused",
        "Discord refuses the bot token: see the bot's log",
    )


async def test_repeats_after_lost_answer(bot: Bot, staff: Channel, standin: StandIn) -> None:
    """A message whose answer was lost stands there once."""
    standin.faults.fail_route(POST, drop=True, done=True)
    standin.faults.fail_route(POST, status=503)

    await _send(bot, staff)

    assert len(standin.chat.messages(staff)) == 1
    assert standin.door.counts[POST] == 3


async def test_waits_out_rate_limit(bot: Bot, staff: Channel, standin: StandIn) -> None:
    """What the headers tell keeps further requests from being refused."""
    standin.door.limits[POST] = RateLimit(2, 0.5)
    for number in range(5):
        await _send(bot, staff, {"content": f"{number}"})

    assert [each.content for each in standin.chat.messages(staff)] == ["0", "1", "2", "3", "4"]
    assert standin.door.counts[POST] == 5


async def test_waits_after_429(bot: Bot, staff: Channel, standin: StandIn) -> None:
    """Requests that went out side by side learn from the answers of the others."""
    standin.door.limits[POST] = RateLimit(2, 0.5)

    await asyncio.gather(*(_send(bot, staff, {"content": f"{number}"}) for number in range(5)))

    assert len(standin.chat.messages(staff)) == 5
    assert standin.door.counts[POST] > 5


async def test_wait_longer_than_an_action(bot: Bot, staff: Channel, standin: StandIn) -> None:
    standin.door.limits[POST] = RateLimit(1, 600.0)
    await _send(bot, staff)

    with pytest.raises(ActionError) as refusal:
        await _send(bot, staff)

    assert refusal.value.name == "Discord.RateLimited"
    assert refusal.value.cause.startswith("Discord asks for a wait of ")
