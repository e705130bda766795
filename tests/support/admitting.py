"""Killing the relay over and over while people wait to be admitted, and the audit at the end."""

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from infra.local.discord import Message
from tests.support.output import TOKEN
from tests.support.waiting_room import WaitingRoom, execution_of, open_premises, read_card
from tests.support.warm import warm_relay

_LIFE_S = 4.0
"""As long as a process lives at most: what its predecessor had in hand comes again after two seconds."""
_LATE_S = 0.2
"""By how much Discord's answers come after their effect: the time in which a kill leaves it unknown."""
_TARGETED = 0.6
"""The share of kills in that time; the others come whenever they do."""
_LEAVES = 0.25
"""The share of people who go before they are decided about."""
_PATIENCE_S = 60.0
_ANSWER_S = 2.0


@dataclass(slots=True)
class Admissions:
    """What came of it: how many ended in each way, and what was found that must not be."""

    kills: int
    outcomes: Counter[str]
    presses: int

    def __str__(self) -> str:
        ways = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.items())
        return f"{self.kills} kills, {self.outcomes.total()} visits ({ways}), {self.presses} presses"


async def crash_admissions(directory: Path, *, seed: int, kills: int) -> Admissions:
    """Let *kills* relays die at random moments of visits to a waiting room, and one live.

    AssertionError unless each visit has one execution, one card, one decision and at most one move, and no
    execution waits any more.
    """
    dice = random.Random(seed)
    async with open_premises() as premises, warm_relay(directory) as warm:
        hall = WaitingRoom(premises)
        (directory / "rules.toml").write_text(hall.rules())
        settings = {
            "DISCORD_TOKEN": TOKEN,
            "DISCORD_API_URL": hall.discord.api_url,
            "API_ENDPOINT": premises.machine.api_endpoint,
            "DATA_DIR": "data",
            "RULES_FILE": "rules.toml",
            "OPS_PORT": "",
            "HEARTBEAT_S": "0",
            "LOG_FORMAT": "json",
            **premises.settings(),
        }
        for route in ("POST /channels/{channel}/messages", "PATCH /guilds/{guild}/members/{user}"):
            hall.discord.faults.fail_route(route, 100 * kills, delay_s=_LATE_S, done=True)
        visits = _Visits(hall, dice)
        # The first snapshot of a guild emits nothing, so somebody has to see it first.
        async with warm.start(settings=settings, credentials=premises.environment()) as life:
            await hall.discord.wait_connected(30)
            life.terminate()
            assert await life.wait() == 0
        going = asyncio.create_task(visits.go_on())
        for _ in range(kills):
            async with warm.start(settings=settings, credentials=premises.environment()) as life:
                await _wait_for_moment(hall, dice, going)
                life.kill()
                assert await life.wait() == -9
            await asyncio.to_thread(premises.forget_dead_polls)
        visits.enough.set()
        async with warm.start(settings=settings, credentials=premises.environment()) as life:
            await asyncio.wait_for(going, _PATIENCE_S)
            await hall.wait_ended()
            life.terminate()
            assert await life.wait() == 0
        _check_outputs(directory)
        return Admissions(kills, await asyncio.to_thread(visits.audit), visits.presses)


def _check_outputs(directory: Path) -> None:
    for output in directory.glob("std*.log"):
        assert "Traceback" not in output.read_text(errors="replace"), output


async def _wait_for_moment(hall: WaitingRoom, dice: random.Random, going: asyncio.Task[None]) -> None:
    """Wait for the moment of a kill; raises what ended the visits."""
    loop = asyncio.get_running_loop()
    until_s, before = loop.time() + _LIFE_S, _count_effects(hall)
    if dice.random() < _TARGETED:
        while _count_effects(hall) == before and loop.time() < until_s:
            await asyncio.wait([going], timeout=0.01)
        until_s = loop.time() + dice.uniform(0, _LATE_S)
    else:
        until_s -= dice.uniform(0, _LIFE_S)
    await asyncio.wait([going], timeout=max(0.0, until_s - loop.time()))
    if going.done():
        going.result()


def _count_effects(hall: WaitingRoom) -> int:
    return len(hall.cards()) + len(hall.moves)


class _Visits:
    """One person after the other in the waiting room, each decided about or gone again."""

    def __init__(self, hall: WaitingRoom, dice: random.Random) -> None:
        self.enough = asyncio.Event()
        self.presses = 0
        self._hall = hall
        self._dice = dice
        self._visitors: list[str] = []
        self._stayed: set[str] = set()

    async def go_on(self) -> None:
        """Visit until it is enough."""
        while not self.enough.is_set():
            await self._visit()

    async def _visit(self) -> None:
        hall = self._hall
        person = hall.guild.add_member(f"visitor {len(self._visitors)}")
        self._visitors.append(person.id)
        await hall.guild.join(person, hall.room)
        await hall.discord.wait_until(
            lambda: len(hall.cards()) >= len(self._visitors), _PATIENCE_S, f"card {len(self._visitors)}"
        )
        card = hall.cards()[-1]
        await asyncio.sleep(self._dice.uniform(0, 0.3))
        if self._dice.random() < _LEAVES:
            await hall.guild.leave(person)
        else:
            self._stayed.add(person.id)
            await self._decide(card)
        await hall.discord.wait_until(lambda: not card.buttons, _PATIENCE_S, f"the end of {card.id}")

    async def _decide(self, card: Message) -> None:
        """Press until the card shows that it was decided, as two people would."""
        hall = self._hall
        async with asyncio.timeout(_PATIENCE_S):
            while card.buttons:
                for who in self._dice.choice([[hall.molly], [hall.molly, hall.otto]]):
                    if card.buttons:
                        await hall.discord.press(who, card, "Admit")
                        self.presses += 1
                await self._wait_closed(card)

    async def _wait_closed(self, card: Message) -> None:
        try:
            await self._hall.discord.wait_until(lambda: not card.buttons, _ANSWER_S, "the card's end")
        except TimeoutError:
            return

    def audit(self) -> Counter[str]:
        """Return how many visits ended in each way; AssertionError for what must not be."""
        hall, outcomes = self._hall, Counter[str]()
        executions = {each["name"]: each for each in hall.executions()}
        cards = Counter(execution_of(card) for card in hall.cards())
        assert len(executions) == len(self._visitors), "as many executions as visits"
        assert cards.keys() == executions.keys(), "each execution has a card"
        assert set(cards.values()) == {1}, f"more than one card: {cards}"
        for card in hall.cards():
            ended = executions[execution_of(card)]
            assert ended["status"] == "SUCCEEDED", ended
            outcomes[self._check(card, ended["output"])] += 1
        in_target = {member.id for member in hall.guild.people_in(hall.target)}
        assert in_target == self._stayed, "who stayed was admitted, and nobody else"
        assert len(hall.moves) == len(self._stayed), "one move for each who was admitted"
        return outcomes

    def _check(self, card: Message, output: str) -> str:
        said = json.loads(output)
        by = said["by"]
        decided = by in (self._hall.molly.id, self._hall.otto.id)
        assert (said["user"] in self._stayed) is (said["outcome"] == "admitted") is decided, said
        assert (f"<@{by}>" if decided else "Left") in read_card(card)
        # Written, and edited once or again with the same words.
        assert len({str(version) for version in card.versions}) == 2
        return str(said["outcome"])
