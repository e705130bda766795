"""The waiting room from voice channel to voice channel: real bot, real templates, real discord.py.

The embedded AWS checks who asks; the stand-in for Discord has people, permissions and buttons. One relay
watches a guild for each test.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from bot.gateway.press import NOT_ALLOWED
from infra.local.discord import Overwrite, Permission
from tests.support.output import check_output
from tests.support.waiting_room import WaitingRoom, execution_of, open_premises, read_card

pytestmark = pytest.mark.asyncio(loop_scope="module")

_ANSWER_S = 10.0
_PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "test_declined_person_is_disconnected": {"decline": "disconnect"},
    "test_second_role_decides": {"escalates": True, "escalate_after_s": 3, "expire_after_s": 60},
    "test_permission_counts_where_the_card_is": {"deciding_permission": "move_members"},
    "test_nobody_decides": {"escalates": True, "escalate_after_s": 1, "expire_after_s": 2},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def halls(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Mapping[str, WaitingRoom]]:
    """A guild for each test of this module, and a relay that watches them all."""
    names = [name for name in vars(request.module) if name.startswith("test_")]
    async with open_premises() as premises:
        halls = {name: WaitingRoom(premises) for name in names}
        rules = "".join(hall.rules(**_PARAMETERS.get(name, {})) for name, hall in halls.items())
        async with premises.relay(tmp_path_factory.mktemp("relay"), rules) as relay:
            await premises.discord.wait_connected(30)
            yield halls
            relay.terminate()
            assert await relay.wait() == 0
        check_output(relay, [premises.machine.credentials.secret_access_key])


@pytest.fixture
def hall(halls: Mapping[str, WaitingRoom], request: pytest.FixtureRequest) -> WaitingRoom:
    """This test's own guild."""
    return halls[request.node.originalname]


def outcome(ended: dict[str, Any]) -> tuple[str, str | None]:
    assert ended["status"] == "SUCCEEDED", (ended.get("error"), ended.get("cause"))
    return ended["output"]["outcome"], ended["output"]["by"]


async def test_admitted_person_is_moved(hall: WaitingRoom) -> None:
    await hall.guild.join(hall.nelly, hall.room)
    card = await hall.wait_for_card()
    assert card.pings == [f"&{hall.first_role.id}"]
    await hall.wait_deciding(card)

    press = await hall.discord.press(hall.molly, card, "Admit", _ANSWER_S)

    said = await hall.wait_closed(card)
    ended = await hall.wait_ended()
    assert hall.guild.people_in(hall.target) == [hall.nelly]
    assert f"✅ Admitted by <@{hall.molly.id}> after " in said
    assert outcome(ended) == ("admitted", hall.molly.id)
    assert ended["output"]["message"] == {"channel_id": hall.staff.id, "message_id": card.id}
    assert hall.moves == [f"Waiting room: admitted by user {hall.molly.id}"]
    assert press.shown


async def test_declined_person_stays(hall: WaitingRoom) -> None:
    await hall.guild.join(hall.nelly, hall.room)
    card = await hall.wait_for_card()
    await hall.wait_deciding(card)

    await hall.discord.press(hall.molly, card, "Decline", _ANSWER_S)

    assert f"⛔ Declined by <@{hall.molly.id}> after " in await hall.wait_closed(card)
    assert outcome(await hall.wait_ended()) == ("declined", hall.molly.id)
    assert hall.guild.people_in(hall.room) == [hall.nelly]
    assert hall.moves == []


async def test_declined_person_is_disconnected(hall: WaitingRoom) -> None:
    await hall.guild.join(hall.nelly, hall.room)
    card = await hall.wait_for_card()
    await hall.wait_deciding(card)

    await hall.discord.press(hall.molly, card, "Decline", _ANSWER_S)

    assert outcome(await hall.wait_ended()) == ("declined", hall.molly.id)
    assert hall.nelly.id not in hall.guild.voice_states
    assert hall.moves == [f"Waiting room: declined by user {hall.molly.id}"]


async def test_second_role_decides(hall: WaitingRoom) -> None:
    """Before it was asked it may not; afterwards it may, and the message that asks pings it."""
    await hall.guild.join(hall.nelly, hall.room)
    card = await hall.wait_for_card()
    await hall.wait_deciding(card)
    early = await hall.discord.press(hall.second, card, "Admit", _ANSWER_S)
    reminder = await hall.wait_for_card(2)
    assert reminder.pings == [f"&{hall.second_role.id}"]
    assert card.id in reminder.content
    assert early.shown
    assert hall.guild.people_in(hall.room) == [hall.nelly]

    # The execution waits anew a moment after it has asked.
    async with asyncio.timeout(30):
        while card.buttons:
            await hall.discord.press(hall.second, card, "Admit", _ANSWER_S)
            await asyncio.sleep(0.2)

    assert outcome(await hall.wait_ended()) == ("admitted", hall.second.id)
    assert hall.guild.people_in(hall.target) == [hall.nelly]


async def test_nobody_decides(hall: WaitingRoom) -> None:
    await hall.guild.join(hall.nelly, hall.room)
    card = await hall.wait_for_card()

    assert "⌛ No decision after " in await hall.wait_closed(card)
    assert outcome(await hall.wait_ended()) == ("expired", None)
    assert len(hall.cards()) == 2
    assert hall.guild.people_in(hall.room) == [hall.nelly]


async def test_leaving_withdraws_the_card(hall: WaitingRoom) -> None:
    await hall.guild.join(hall.nelly, hall.room)
    card = await hall.wait_for_card()

    await hall.guild.leave(hall.nelly)

    assert "🚶 Left after " in await hall.wait_closed(card)
    assert outcome(await hall.wait_ended()) == ("withdrawn", None)
    assert hall.moves == []


async def test_first_of_two_presses_decides(hall: WaitingRoom) -> None:
    await hall.guild.join(hall.nelly, hall.room)
    card = await hall.wait_for_card()
    await hall.wait_deciding(card)

    molly, otto = await asyncio.gather(
        hall.discord.press(hall.molly, card, "Admit", _ANSWER_S),
        hall.discord.press(hall.otto, card, "Decline", _ANSWER_S),
    )

    said = await hall.wait_closed(card)
    what, by = outcome(await hall.wait_ended())
    assert (what, by) in (("admitted", hall.molly.id), ("declined", hall.otto.id))
    assert f"<@{by}>" in said
    assert len(hall.moves) == (what == "admitted")
    assert molly.shown != otto.shown
    assert len(hall.cards()) == 1


async def test_stranger_decides_nothing(hall: WaitingRoom) -> None:
    await hall.guild.join(hall.nelly, hall.room)
    card = await hall.wait_for_card()
    await hall.wait_deciding(card)

    press = await hall.discord.press(hall.stranger, card, "Admit", _ANSWER_S)

    assert press.shown
    assert card.buttons
    assert hall.moves == []
    await hall.discord.press(hall.molly, card, "Decline", _ANSWER_S)
    assert outcome(await hall.wait_ended()) == ("declined", hall.molly.id)


async def test_permission_counts_where_the_card_is(hall: WaitingRoom) -> None:
    """A button of another server that leads to the execution gives that server's administrators nothing."""
    hall.staff.overwrites[hall.second_role.id] = Overwrite(allow=Permission.MOVE_MEMBERS)
    otis = hall.guild.add_member("otis", roles=[hall.second_role])
    elsewhere = hall.discord.world.add_guild("Elsewhere")
    lounge = elsewhere.add_text_channel("lounge")
    boss = elsewhere.add_member("boss", roles=[elsewhere.add_role("boss", Permission.ADMINISTRATOR)])
    await hall.guild.join(hall.nelly, hall.room)
    card = await hall.wait_for_card()
    await hall.wait_deciding(card)
    copy = hall.discord.chat.say(card.author, lounge, card.body)

    press = await hall.discord.press(boss, copy, "Admit", _ANSWER_S)

    assert press.shown == NOT_ALLOWED
    assert card.buttons
    await hall.discord.press(otis, card, "Decline", _ANSWER_S)
    assert outcome(await hall.wait_ended()) == ("declined", otis.id)


async def test_refused_move_is_named(hall: WaitingRoom) -> None:
    hall.guild.deny_bot(Permission.MOVE_MEMBERS)
    await hall.guild.join(hall.nelly, hall.room)
    card = await hall.wait_for_card()
    await hall.wait_deciding(card)

    await hall.discord.press(hall.molly, card, "Admit", _ANSWER_S)

    assert "But the bot lacks the permission Move Members" in await hall.wait_closed(card)
    ended = await hall.wait_ended()
    assert outcome(ended) == ("failed", hall.molly.id)
    assert ended["output"]["error"] == "Discord.MissingPermissions"


async def test_unsendable_card_fails_by_name(hall: WaitingRoom) -> None:
    hall.guild.deny_bot(Permission.SEND_MESSAGES)
    await hall.guild.join(hall.nelly, hall.room)

    ended = await hall.wait_ended()

    assert (ended["status"], ended["error"]) == ("FAILED", "Discord.MissingPermissions")
    assert ended["cause"]


async def test_deleted_card_undoes_nothing(hall: WaitingRoom) -> None:
    await hall.guild.join(hall.nelly, hall.room)
    card = await hall.wait_for_card()
    await hall.wait_deciding(card)
    press = await hall.discord.press(hall.molly, card, "Admit")
    hall.discord.chat.delete(card)

    assert outcome(await hall.wait_ended()) == ("admitted", hall.molly.id)
    assert hall.guild.people_in(hall.target) == [hall.nelly]
    assert press.id


async def test_next_visit_has_its_own_card(hall: WaitingRoom) -> None:
    """Who leaves and comes back is asked about anew; a press on the old card does nothing."""
    await hall.guild.join(hall.nelly, hall.room)
    old = await hall.wait_for_card()
    before = dict(old.versions[0])
    await hall.guild.leave(hall.nelly)
    await hall.wait_closed(old)
    await hall.guild.join(hall.nelly, hall.room)
    card = await hall.wait_for_card(2)
    await hall.wait_deciding(card)
    assert execution_of(card) != execution_of(old)

    custom_id = before["components"][0]["components"][0]["custom_id"]
    stale = hall.discord.interactions.send(hall.molly, old, custom_id)
    await hall.discord.interactions.wait_answered(stale, _ANSWER_S)

    assert stale.shown
    assert hall.moves == []
    await hall.discord.press(hall.molly, card, "Admit", _ANSWER_S)
    await hall.wait_closed(card)
    assert "Left" in read_card(old)
    assert hall.guild.people_in(hall.target) == [hall.nelly]
