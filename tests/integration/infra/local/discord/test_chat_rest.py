"""A bot's messages over REST: kept, edited, deleted, repeated, and refused."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from infra.local.discord import Channel, Guild, Overwrite, Permission, StandIn, render_message
from tests.integration.infra.local.discord.asking import Asking

CARD = {
    "content": "<@&4> Nelly waits",
    "components": [
        {
            "type": 1,
            "components": [
                {"type": 2, "style": 3, "label": "Admit", "custom_id": "signal:admit:x"},
                {
                    "type": 2,
                    "style": 4,
                    "label": "Decline",
                    "custom_id": "signal:decline:x",
                    "disabled": True,
                },
            ],
        }
    ],
}


class Clock:
    """Stands still until a test sets it."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def standin(clock: Clock) -> AsyncIterator[StandIn]:
    async with StandIn(token="right", clock=clock) as standin:
        standin.door.limits.clear()
        yield standin


@pytest.fixture
async def ask(standin: StandIn) -> AsyncIterator[Asking]:
    async with Asking(standin.api_url, standin.token) as ask:
        yield ask


@pytest.fixture
def staff(guild: Guild) -> Channel:
    return guild.add_text_channel("staff")


def path(channel: Channel, message_id: str | None = None) -> str:
    return f"/channels/{channel.id}/messages" + (f"/{message_id}" if message_id else "")


async def test_message_with_buttons_stands(standin: StandIn, ask: Asking, staff: Channel) -> None:
    answer = await ask("POST", path(staff), CARD)
    [card] = standin.chat.messages(staff)
    assert (answer.status, answer.body["id"], answer.body["content"]) == (200, card.id, CARD["content"])
    assert answer.body["components"][0]["components"][1]["disabled"] is True
    assert [button["label"] for button in card.buttons] == ["Admit", "Decline"]
    assert render_message(card.body, standin.world).splitlines()[1] == "[ Admit ]  ( Decline )"
    assert card.pings == ["&4"]
    assert (await ask("GET", path(staff, card.id))).body == answer.body
    assert (await ask("GET", path(staff))).body == [answer.body]
    assert (await ask("GET", f"/channels/{staff.id}")).body["name"] == "staff"


async def test_nonce_finds_the_first_message(
    standin: StandIn, ask: Asking, staff: Channel, clock: Clock
) -> None:
    body = CARD | {"nonce": "n", "enforce_nonce": True}
    first = await ask("POST", path(staff), body)
    again = await ask("POST", path(staff), body | {"content": "other"})
    assert again.body == first.body
    assert len(standin.chat.messages(staff)) == 1
    await ask("POST", path(staff), CARD | {"nonce": "n"})
    assert len(standin.chat.messages(staff)) == 2, "not enforced"
    clock.now += 181
    await ask("POST", path(staff), body)
    assert len(standin.chat.messages(staff)) == 3, "forgotten after some minutes"


async def test_edit_keeps_what_it_does_not_name(standin: StandIn, ask: Asking, staff: Channel) -> None:
    sent = await ask("POST", path(staff), CARD)
    one = path(staff, sent.body["id"])
    edited = await ask("PATCH", one, {"components": []})
    assert (edited.body["content"], edited.body["components"]) == (CARD["content"], [])
    assert edited.body["edited_timestamp"] is not None
    assert (await ask("PATCH", one, {"content": None})).code == (400, 50006)
    [card] = standin.chat.messages(staff)
    assert len(card.versions) == 2
    assert card.buttons == []


async def test_only_own_messages_are_edited(
    standin: StandIn, ask: Asking, guild: Guild, staff: Channel
) -> None:
    foreign = standin.chat.say(guild.add_member("nelly").user, staff, {"content": "hello"})
    assert (await ask("PATCH", path(staff, foreign.id), {"content": "x"})).code == (403, 50005)
    assert (await ask("DELETE", path(staff, foreign.id))).code == (403, 50013)
    guild.bot_role.permissions |= Permission.MANAGE_MESSAGES
    assert (await ask("DELETE", path(staff, foreign.id))).status == 204


async def test_deleted_message_is_unknown(
    standin: StandIn, ask: Asking, guild: Guild, staff: Channel
) -> None:
    sent = await ask("POST", path(staff), CARD)
    elsewhere = guild.add_text_channel("elsewhere")
    assert (await ask("DELETE", path(elsewhere, sent.body["id"]))).code == (404, 10008)
    assert (await ask("DELETE", path(staff, sent.body["id"]))).status == 204
    for method in ("DELETE", "PATCH", "GET"):
        assert (await ask(method, path(staff, sent.body["id"]), {})).code == (404, 10008)
    assert standin.chat.messages(staff) == []
    assert len(standin.chat.messages(staff, deleted=True)) == 1


async def test_old_messages_take_few_edits(
    standin: StandIn, ask: Asking, staff: Channel, clock: Clock
) -> None:
    sent = await ask("POST", path(staff), CARD)
    standin.chat.old_edits = 1
    one = path(staff, sent.body["id"])
    clock.now += 3600
    assert (await ask("PATCH", one, {"content": "1"})).status == 200
    clock.now += 1
    assert (await ask("PATCH", one, {"content": "2"})).status == 200
    refused = await ask("PATCH", one, {"content": "3"})
    assert (refused.code, refused.body["retry_after"]) == ((429, 30046), 60)


@pytest.mark.parametrize(
    ("denied", "body", "code"),
    [
        (Permission.VIEW_CHANNEL, CARD, (403, 50001)),
        (Permission.SEND_MESSAGES, CARD, (403, 50013)),
        (Permission.EMBED_LINKS, {"embeds": [{"title": "x"}]}, (403, 50013)),
    ],
)
async def test_sending_needs_permissions(
    standin: StandIn, ask: Asking, guild: Guild, staff: Channel, denied: Permission, body: Any, code: object
) -> None:
    staff.overwrites[guild.bot_role.id] = Overwrite(deny=denied)
    assert (await ask("POST", path(staff), body)).code == code
    del staff.overwrites[guild.bot_role.id]
    assert (await ask("POST", path(staff), body)).status == 200


async def test_sending_needs_a_text_channel(ask: Asking, guild: Guild) -> None:
    assert (await ask("POST", path(guild.add_category("Rooms")), CARD)).code == (400, 50008)
    assert (await ask("POST", "/channels/1/messages", CARD)).code == (404, 10003)
    lounge = guild.add_voice_channel("Lounge")
    assert (await ask("POST", path(lounge), CARD)).status == 200
    lounge.overwrites[guild.bot_role.id] = Overwrite(deny=Permission.CONNECT)
    assert (await ask("POST", path(lounge), CARD)).code == (403, 50013)


async def test_obfuscated_channel_is_out_of_reach(ask: Asking, guild: Guild, staff: Channel) -> None:
    await guild.hide_channel(staff)
    assert (await ask("POST", path(staff), CARD)).code == (403, 50001)


async def test_private_messages(standin: StandIn, ask: Asking, guild: Guild) -> None:
    nelly = guild.add_member("nelly")
    opened = [await ask("POST", "/users/@me/channels", {"recipient_id": nelly.id}) for _ in range(2)]
    assert opened[0].body == opened[1].body
    messages = f"/channels/{opened[0].body['id']}/messages"
    assert (await ask("POST", messages, {"content": "Welcome"})).status == 200
    assert [message.content for message in standin.chat.private_messages(nelly.user)] == ["Welcome"]
    nelly.user.accepts_dms = False
    assert (await ask("POST", messages, {"content": "Welcome"})).code == (403, 50007)
    assert (await ask("POST", "/users/@me/channels", {"recipient_id": "1"})).code == (400, 50033)
    assert (await ask("POST", "/users/@me/channels", {"recipient_id": 1})).code == (400, 50035)


async def test_pinging_a_role_needs_permission(
    standin: StandIn, ask: Asking, guild: Guild, staff: Channel
) -> None:
    """Without it the message is taken, and silent."""
    body = {"content": "<@&4> <@5>", "allowed_mentions": {"roles": ["4"], "users": ["5"]}}
    await ask("POST", path(staff), body)
    guild.deny_bot(Permission.MENTION_EVERYONE)
    answer = await ask("POST", path(staff), body)
    assert [message.pings for message in standin.chat.messages(staff)] == [["5", "&4"], ["5"]]
    assert answer.body["mention_roles"] == []


async def test_history_needs_permission(ask: Asking, guild: Guild, staff: Channel) -> None:
    await ask("POST", path(staff), CARD)
    guild.deny_bot(Permission.READ_MESSAGE_HISTORY)
    assert (await ask("GET", path(staff))).body == []


async def test_invalid_json_is_refused(standin: StandIn, staff: Channel) -> None:
    async with (
        aiohttp.ClientSession(headers={"Authorization": "Bot right"}) as http,
        http.post(standin.api_url + path(staff), data=b"{") as response,
    ):
        assert (response.status, (await response.json())["code"]) == (400, 50109)
