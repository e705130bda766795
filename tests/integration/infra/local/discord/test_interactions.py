"""Presses of buttons, answered by the real discord.py and by hand."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import discord
import pytest

from infra.local.discord import Channel, Guild, Member, Message, Permission, Press, StandIn
from infra.local.discord.interactions import FAILED, THINKING
from tests.integration.infra.local.discord.asking import Asking
from tests.integration.infra.local.discord.conftest import TIMEOUT_S, Connect
from tests.integration.infra.local.discord.test_chat_rest import CARD, Clock

EPHEMERAL = 64


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def standin(clock: Clock) -> AsyncIterator[StandIn]:
    async with StandIn(token="right", clock=clock) as standin:
        yield standin


@pytest.fixture
async def ask(standin: StandIn) -> AsyncIterator[Asking]:
    # Answers to interactions need no token of the bot's.
    async with Asking(standin.api_url, "none") as ask:
        yield ask


@pytest.fixture
def staff(guild: Guild) -> Channel:
    return guild.add_text_channel("staff")


@pytest.fixture
def card(standin: StandIn, staff: Channel) -> Message:
    return standin.chat.say(standin.world.bot, staff, CARD)


@pytest.fixture
def admin(guild: Guild) -> Member:
    return guild.add_member("tom", roles=[guild.add_role("Staff", Permission.MOVE_MEMBERS)])


def seen_by(press: Press) -> str | None:
    return press.shown


def callback(press: Press) -> str:
    return f"/interactions/{press.id}/{press.token}/callback"


def original(standin: StandIn, press: Press) -> str:
    return f"/webhooks/{standin.application_id}/{press.token}/messages/@original"


async def test_discord_py_answers_a_press(
    standin: StandIn, guild: Guild, staff: Channel, card: Message, admin: Member, connect: Connect
) -> None:
    """What discord.py reads of the press is what the guild has, and only the presser sees the answer."""
    async with connect(standin) as client:
        seen: list[discord.Interaction] = []

        @client.event
        async def on_interaction(interaction: discord.Interaction) -> None:
            seen.append(interaction)
            await interaction.response.defer(ephemeral=True, thinking=True)
            await interaction.edit_original_response(content="Admitted.")

        press = await standin.press(admin, card, "Admit", timeout_s=TIMEOUT_S)
    [interaction] = seen
    assert press.shown == "Admitted."
    assert press.callback == 5
    assert standin.chat.messages(staff) == [card]
    assert interaction.data is not None
    assert interaction.data["custom_id"] == "signal:admit:x"  # type: ignore[typeddict-item]
    assert interaction.message is not None
    assert str(interaction.message.id) == card.id
    assert isinstance(interaction.user, discord.Member)
    assert [str(role_id) for role_id in interaction.user._roles] == list(admin.role_ids)
    assert interaction.permissions.move_members
    assert interaction.app_permissions.send_messages


async def test_press_follows_deferral(standin: StandIn, card: Message, admin: Member, ask: Asking) -> None:
    press = standin.interactions.press(admin, card, "Admit")
    assert not press.answered
    assert (await ask("PATCH", original(standin, press), {"content": "x"})).code == (404, 10015)
    assert (await ask("POST", callback(press), {"type": 5, "data": {"flags": EPHEMERAL}})).status == 204
    assert seen_by(press) == THINKING
    answer = await ask("PATCH", original(standin, press), {"content": "Admitted."})
    assert (answer.body["content"], answer.body["flags"]) == ("Admitted.", EPHEMERAL)
    assert seen_by(press) == "Admitted."
    assert (await ask("GET", original(standin, press))).body["content"] == "Admitted."
    follow_up = {"content": "And more.", "flags": EPHEMERAL}
    hook = f"/webhooks/{standin.application_id}/{press.token}"
    second = await ask("POST", hook, follow_up)
    assert second.status == 200
    one = f"{hook}/messages/{second.body['id']}"
    assert (await ask("PATCH", one, {"content": "And less."})).body["content"] == "And less."
    assert (await ask("PATCH", one, {"content": "And more."})).status == 200
    assert (await ask("PATCH", f"{hook}/messages/1", {"content": "x"})).code == (404, 10008)
    assert seen_by(press) == "Admitted.\nAnd more."
    assert (await ask("DELETE", original(standin, press))).status == 204
    assert seen_by(press) == "And more."
    assert standin.chat.messages(card.channel_id) == [card]


async def test_first_follow_up_ends_the_thinking(
    standin: StandIn, card: Message, admin: Member, ask: Asking
) -> None:
    press = standin.interactions.press(admin, card, "Admit")
    await ask("POST", callback(press), {"type": 5, "data": {"flags": EPHEMERAL}})
    await ask("POST", f"/webhooks/{standin.application_id}/{press.token}", {"content": "Here."})
    assert (press.shown, len(press.answers), press.answers[0].ephemeral) == ("Here.", 1, True)


async def test_callback_within_three_seconds(
    standin: StandIn, card: Message, admin: Member, ask: Asking, clock: Clock
) -> None:
    early, late = (standin.interactions.press(admin, card, "Admit") for _ in range(2))
    clock.now += 3.0
    assert (await ask("POST", callback(early), {"type": 6})).status == 204
    clock.now += 0.001
    assert late.shown == FAILED
    assert (await ask("POST", callback(late), {"type": 6})).code == (404, 10062)
    # Acknowledged once, it stays so; that it is late by now matters no more.
    assert (await ask("POST", callback(early), {"type": 6})).code == (400, 40060)


async def test_answer_within_quarter_of_an_hour(
    standin: StandIn, card: Message, admin: Member, ask: Asking, clock: Clock
) -> None:
    press = standin.interactions.press(admin, card, "Admit")
    await ask("POST", callback(press), {"type": 5})
    clock.now += 900
    assert (await ask("PATCH", original(standin, press), {"content": "x"})).status == 200
    clock.now += 0.001
    assert (await ask("PATCH", original(standin, press), {"content": "x"})).code == (401, 50027)


async def test_update_changes_the_message(
    standin: StandIn, card: Message, admin: Member, ask: Asking
) -> None:
    press = standin.interactions.press(admin, card, "Admit")
    await ask("POST", callback(press), {"type": 7, "data": {"content": "Done", "components": []}})
    assert (card.content, card.buttons) == ("Done", [])
    with pytest.raises(LookupError, match="no button 'Admit'"):
        standin.interactions.press(admin, card, "Admit")


async def test_public_answer_stands_in_the_channel(
    standin: StandIn, card: Message, staff: Channel, admin: Member, ask: Asking
) -> None:
    press = standin.interactions.press(admin, card, "Admit")
    await ask("POST", callback(press), {"type": 4, "data": {"content": "Tom admits"}})
    assert [message.content for message in standin.chat.messages(staff)] == [card.content, "Tom admits"]
    assert press.shown == "Tom admits"


async def test_refuses_wrong_callbacks(standin: StandIn, card: Message, admin: Member, ask: Asking) -> None:
    press = standin.interactions.press(admin, card, "Admit")
    assert (await ask("POST", callback(press), {"type": 3})).code == (400, 50035)
    assert (await ask("POST", callback(press), {"type": 4})).code == (400, 50006)
    assert (await ask("POST", callback(press), [])).code == (400, 50035)
    assert (await ask("POST", "/interactions/1/x/callback", {"type": 6})).code == (404, 10062)
    assert (await ask("PATCH", f"/webhooks/{standin.application_id}/x/messages/@original", {})).status == 401
    assert press.callback is None


async def test_disabled_button_cannot_be_pressed(standin: StandIn, card: Message, admin: Member) -> None:
    with pytest.raises(ValueError, match="no client can press"):
        standin.interactions.press(admin, card, "Decline")


async def test_press_in_private_reaches_shard_0(
    standin: StandIn, guild: Guild, admin: Member, connect: Connect
) -> None:
    channel_id = standin.chat.open_private(admin.user)
    message = standin.chat.say(standin.world.bot, channel_id, CARD)
    async with connect(standin) as client:
        standin.interactions.press(admin.user, message, "Admit")
        [payload] = await client.wait_seen("INTERACTION_CREATE")
    assert (payload["user"]["id"], "member" in payload, "guild_id" in payload) == (admin.id, False, False)


async def test_press_is_replayed_after_resume(
    standin: StandIn, card: Message, admin: Member, connect: Connect
) -> None:
    async with connect(standin) as client:
        await standin.faults.drop()
        press = standin.interactions.press(admin, card, "Admit")
        [payload] = await client.wait_seen("INTERACTION_CREATE")
    assert payload == press.payload
    assert payload["member"]["permissions"] == str(1 << 10 | 1 << 20 | 1 << 24)
    assert payload["member"]["roles"] == list(admin.role_ids)


async def test_callback_can_lose_its_answer(
    standin: StandIn, card: Message, admin: Member, ask: Asking
) -> None:
    press = standin.interactions.press(admin, card, "Admit")
    standin.faults.fail_route("POST /interactions/{id}/{token}/callback", drop=True, done=True)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await ask("POST", callback(press), {"type": 5, "data": {"flags": EPHEMERAL}})
    assert press.shown == THINKING
    waiting = asyncio.create_task(standin.interactions.wait_answered(press, TIMEOUT_S))
    await ask("PATCH", original(standin, press), {"content": "Here."})
    assert await waiting == "Here."
