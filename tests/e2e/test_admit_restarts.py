"""The waiting room while the bot is killed at each step of it, and while the API is down."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from infra.local.faulty_proxy import FaultyProxy
from tests.support.process import Child
from tests.support.waiting_room import Premises, WaitingRoom, open_premises

pytestmark = pytest.mark.asyncio(loop_scope="module")

_ANSWER_S = 10.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def premises() -> AsyncIterator[Premises]:
    async with open_premises() as premises:
        yield premises


@pytest.fixture
def hall(premises: Premises) -> WaitingRoom:
    return WaitingRoom(premises)


async def kill(relay: Child, hall: WaitingRoom) -> None:
    relay.kill()
    await relay.wait()
    await asyncio.to_thread(hall.premises.forget_dead_polls)


async def admitted_once(hall: WaitingRoom) -> None:
    """Check that molly's decision came to its end, with one card and one move."""
    ended = await hall.wait_ended()
    assert (ended["output"]["outcome"], ended["output"]["by"]) == ("admitted", hall.molly.id)
    assert hall.guild.people_in(hall.target) == [hall.nelly]
    assert len(hall.moves) == 1
    assert len(hall.cards()) == 1


@pytest.mark.parametrize("done", [False, True], ids=["before Discord has it", "before its answer"])
async def test_restart_amid_the_card(hall: WaitingRoom, tmp_path: Path, done: bool) -> None:
    """The bot dies with the card's task in hand; the next one sends it, if it was not sent."""
    fault = hall.discord.faults.hold_route("POST /channels/{channel}/messages", done=done)
    async with hall.premises.relay(tmp_path, hall.rules()) as relay:
        await hall.discord.wait_connected(30)
        await hall.guild.join(hall.nelly, hall.room)
        await asyncio.wait_for(fault.reached.wait(), 30)
        await kill(relay, hall)
    async with hall.premises.relay(tmp_path, hall.rules()):
        fault.go_on.set()
        card = await hall.wait_for_card()
        await hall.wait_deciding(card)
        await hall.discord.press(hall.molly, card, "Admit", _ANSWER_S)

        await admitted_once(hall)


async def test_restart_with_the_card_open(hall: WaitingRoom, tmp_path: Path) -> None:
    async with hall.premises.relay(tmp_path, hall.rules()) as relay:
        await hall.discord.wait_connected(30)
        await hall.guild.join(hall.nelly, hall.room)
        card = await hall.wait_for_card()
        await hall.wait_deciding(card)
        await kill(relay, hall)
    async with hall.premises.relay(tmp_path, hall.rules()):
        await hall.discord.wait_connected(30)
        await hall.discord.press(hall.molly, card, "Admit", _ANSWER_S)

        assert "✅ Admitted" in await hall.wait_closed(card)
        await admitted_once(hall)


async def test_restart_between_press_and_move(hall: WaitingRoom, tmp_path: Path) -> None:
    """The move reached Discord, and its answer nobody: the next bot does not move again."""
    async with hall.premises.relay(tmp_path, hall.rules()) as relay:
        await hall.discord.wait_connected(30)
        await hall.guild.join(hall.nelly, hall.room)
        card = await hall.wait_for_card()
        await hall.wait_deciding(card)
        fault = hall.discord.faults.hold_route("PATCH /guilds/{guild}/members/{user}", done=True)
        await hall.discord.press(hall.molly, card, "Admit", _ANSWER_S)
        await asyncio.wait_for(fault.reached.wait(), 30)
        await kill(relay, hall)
        fault.go_on.set()
    async with hall.premises.relay(tmp_path, hall.rules()):
        assert "✅ Admitted" in await hall.wait_closed(card)
        await admitted_once(hall)


async def test_api_outage_delays_the_card(hall: WaitingRoom, tmp_path: Path) -> None:
    async with (
        FaultyProxy(hall.premises.machine.api_endpoint) as proxy,
        hall.premises.relay(tmp_path, hall.rules(), proxy.url),
    ):
        await hall.discord.wait_connected(30)
        proxy.begin_outage()
        await hall.guild.join(hall.nelly, hall.room)
        await proxy.wait_for_refusals(2, 30)
        assert hall.cards() == []
        proxy.end_outage()

        card = await hall.wait_for_card()
        await hall.wait_deciding(card)
        await hall.discord.press(hall.molly, card, "Admit", _ANSWER_S)

        await admitted_once(hall)
