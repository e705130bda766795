"""Presses of buttons through the real gateway: each gets one sentence, and counts once or not at all."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict

from bot.api.signals import Answer, Outcome
from bot.errors import DeliveryError, Rejected, TemporaryFailure, Unauthorized
from bot.gateway.interaction_rest import InteractionRest
from bot.gateway.interactions import Interactions
from bot.gateway.press import (
    NOT_ALLOWED,
    NOT_WAITING,
    REFUSED,
    SIGNALLED,
    STOPPING,
    UNDERWAY,
    UNREACHABLE,
    parse_press,
)
from bot.outbox.session import Position
from infra.local.discord import Channel, Guild, Member, Message, Permission, Press, StandIn
from infra.local.discord.interactions import FAILED, THINKING
from tests.integration.bot.gateway.watcher import SHORT_S, TIMEOUT_S, TOKEN, Watcher, join, until, watching
from tests.support.presses import CARD, Waiting, build_press

CALLBACK = "POST /interactions/{id}/{token}/callback"
ANSWER = "PATCH /webhooks/{application}/{token}/messages/{message}"


class Clock:
    """Discord's clock: stands still until a test sets it."""

    def __init__(self) -> None:
        self.now = 1_795_246_200.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def standin(clock: Clock) -> AsyncIterator[StandIn]:
    async with StandIn(token=TOKEN, clock=clock) as standin:
        yield standin


@pytest.fixture
def staff(guild: Guild) -> Channel:
    return guild.add_text_channel("staff")


@pytest.fixture
def card(standin: StandIn, staff: Channel) -> Message:
    return standin.chat.say(standin.world.bot, staff, CARD)


@pytest.fixture
def tom(guild: Guild) -> Member:
    return guild.add_member("tom", roles=[guild.add_role("Staff", Permission.MOVE_MEMBERS)])


@pytest.fixture
def ada(guild: Guild) -> Member:
    return guild.add_member("ada")


@pytest.fixture(autouse=True)
def debug_lines() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.backoff.BASE_S", SHORT_S)
    monkeypatch.setattr("bot.gateway.interactions.WAITED_FOR_S", (SHORT_S, SHORT_S))


@asynccontextmanager
async def relaying(
    standin: StandIn, waiting: Waiting, grace_s: float = TIMEOUT_S, **options: Any
) -> AsyncIterator[Interactions]:
    """Take presses until the block ends, and finish those in flight within *grace_s*."""
    async with InteractionRest(standin.api_url) as rest:
        interactions = Interactions(rest, waiting.send, asyncio.create_task)
        async with watching(standin, on_interaction=interactions.take, **options):
            yield interactions
        await interactions.close(grace_s)


async def press_and_see(standin: StandIn, waiting: Waiting, who: Member, card: Message) -> Press:
    async with relaying(standin, waiting):
        return await standin.press(who, card, "Admit", timeout_s=TIMEOUT_S)


def find(lines: list[EventDict], event: str) -> dict[str, Any]:
    [line] = [line for line in lines if line["event"] == event]
    return dict(line)


async def test_press_signals_the_execution(
    standin: StandIn, guild: Guild, staff: Channel, card: Message, tom: Member
) -> None:
    """The presser alone sees the answer, and the message is left to the workflow."""
    waiting = Waiting()
    with capture_logs() as lines:
        press = await press_and_see(standin, waiting, tom, card)
    assert (press.shown, press.callback) == (SIGNALLED, 5)
    assert all(answer.ephemeral for answer in press.answers)
    assert standin.chat.messages(staff) == [card]
    assert len(card.versions) == 1
    [(name, signal, by, data)] = waiting.sent
    assert (name, signal) == ("01JD-x", "admit")
    assert (by.kind, by.id, list(by.roles)) == ("user", tom.id, list(tom.role_ids))
    assert int(by.permissions or "") & Permission.MOVE_MEMBERS
    assert data == {"guild_id": guild.id, "channel_id": staff.id, "message_id": card.id}
    line = find(lines, "press_answered")
    assert (line["outcome"], line["user_id"], line["replayed"]) == ("signalled", tom.id, False)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (Answer(Outcome.NOT_ALLOWED), NOT_ALLOWED),
        (Unauthorized("no credentials"), REFUSED),
        (Rejected("the wait is damaged", code="WaitInvalid"), REFUSED),
        (TemporaryFailure("the API has no such route", status=404), REFUSED),
        (RuntimeError("a mistake of the relay's own"), REFUSED),
    ],
)
async def test_each_outcome_has_its_sentence(
    standin: StandIn, card: Message, ada: Member, answer: Answer | DeliveryError, sentence: str
) -> None:
    waiting = Waiting()
    waiting.script.append(answer)
    press = await press_and_see(standin, waiting, ada, card)
    assert press.shown == sentence
    assert waiting.decided is None


async def test_second_press_hears_who_decided(
    standin: StandIn, card: Message, tom: Member, ada: Member
) -> None:
    waiting = Waiting()
    async with relaying(standin, waiting):
        for who in (tom, ada, tom):
            await standin.press(who, card, "Admit", timeout_s=TIMEOUT_S)
    since = "already decided this <t:1795246200:R>."
    shown = [press.shown for press in standin.interactions.presses]
    assert shown == [SIGNALLED, f"<@{tom.id}> {since}", f"You {since}"]


async def test_two_at_once_decide_once(standin: StandIn, card: Message, tom: Member, ada: Member) -> None:
    waiting = Waiting()
    both = asyncio.Barrier(2)
    waiting.script.extend([both.wait, both.wait])
    async with relaying(standin, waiting):
        presses = await asyncio.gather(
            standin.press(tom, card, "Admit", timeout_s=TIMEOUT_S),
            standin.press(ada, card, "Decline", timeout_s=TIMEOUT_S),
        )
    shown = [press.shown or "" for press in presses]
    assert shown.count(SIGNALLED) == 1
    winner = presses[shown.index(SIGNALLED)].user
    assert sum(f"<@{winner.id}> already decided" in text for text in shown) == 1


async def test_waits_for_the_wait(standin: StandIn, card: Message, tom: Member) -> None:
    """A card may be shown just before its execution waits; a wait that is over stays so."""
    waiting = Waiting()
    waiting.script.extend([Answer(Outcome.NOT_WAITING)] * 5)
    async with relaying(standin, waiting):
        over = await standin.press(tom, card, "Admit", timeout_s=TIMEOUT_S)
        soon = await standin.press(tom, card, "Admit", timeout_s=TIMEOUT_S)
    assert (over.shown, soon.shown) == (NOT_WAITING, SIGNALLED)
    assert len(waiting.sent) == 6


async def test_slow_workflow_is_waited_for(
    standin: StandIn, card: Message, tom: Member, guild: Guild, clock: Clock
) -> None:
    """Longer than Discord's three seconds, and meanwhile frames are taken in."""
    waiting, go_on = Waiting(), asyncio.Event()
    waiting.script.append(go_on.wait)
    async with InteractionRest(standin.api_url) as rest:
        interactions = Interactions(rest, waiting.send, asyncio.create_task)
        async with watching(standin, on_interaction=interactions.take) as watcher:
            press = await standin.press(tom, card, "Admit")
            await waiting.changed.wait()
            clock.now += 60
            assert press.shown == THINKING
            await join(guild, "nelly")
            await watcher.wait_for(1)
            go_on.set()
            assert await standin.interactions.wait_answered(press, TIMEOUT_S) == SIGNALLED


async def test_unreachable_workflow_is_said(
    standin: StandIn, card: Message, tom: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = Waiting()
    waiting.script.extend([TemporaryFailure("the API is down")] * 3)
    async with relaying(standin, waiting):
        recovered = await standin.press(tom, card, "Admit", timeout_s=TIMEOUT_S)
        monkeypatch.setattr("bot.gateway.interactions.TRIED_S", -1.0)
        waiting.script.append(TemporaryFailure("the API is down"))
        down = await standin.press(tom, card, "Admit", timeout_s=TIMEOUT_S)
    assert (recovered.shown, down.shown) == (SIGNALLED, UNREACHABLE)
    assert len(waiting.sent) == 5


async def test_press_that_comes_too_late_has_no_effect(
    standin: StandIn, card: Message, tom: Member, clock: Clock
) -> None:
    """Discord has told the presser that it failed."""
    waiting = Waiting()
    with capture_logs() as lines:
        async with relaying(standin, waiting) as interactions:
            await standin.faults.drop()
            press = await standin.press(tom, card, "Admit")
            clock.now += 3.5
            await until(lambda: interactions.failures == 1)
    assert (press.shown, waiting.sent) == (FAILED, [])
    assert find(lines, "press_too_late")["interaction_id"] == press.id


async def test_press_while_disconnected_counts(
    standin: StandIn, card: Message, tom: Member, clock: Clock
) -> None:
    """A RESUME replays it, in time."""
    waiting = Waiting()
    async with relaying(standin, waiting):
        await standin.faults.drop()
        press = await standin.press(tom, card, "Admit", timeout_s=TIMEOUT_S)
    assert press.shown == SIGNALLED


async def test_acknowledged_press_goes_on_after_restart(
    standin: StandIn, card: Message, tom: Member, clock: Clock
) -> None:
    """The first process is killed after it acknowledged; the next hears of the press by RESUME."""
    positions: dict[int, Position] = {}

    async with InteractionRest(standin.api_url) as rest:
        killed = Interactions(rest, Waiting().send, _never_run)
        async with watching(standin, on_interaction=killed.take) as watcher:
            positions.update(watcher.gateway.positions())
            press = await standin.press(tom, card, "Admit")
            await until(lambda: killed.presses == 1)
            await rest.defer(parse_press(press.payload))
    assert press.shown == THINKING
    clock.now += 60
    waiting = Waiting()
    with capture_logs() as lines:
        async with InteractionRest(standin.api_url) as rest:
            interactions = Interactions(rest, waiting.send, asyncio.create_task)
            next_one = Watcher(api_url=standin.api_url, positions=positions, on_interaction=interactions.take)
            running = asyncio.create_task(next_one.gateway.run(TOKEN))
            await standin.interactions.wait_answered(press, TIMEOUT_S)
            await interactions.close(TIMEOUT_S)
            running.cancel()
            await asyncio.wait([running])
    assert (press.shown, len(waiting.sent)) == (SIGNALLED, 1)
    assert find(lines, "press_answered")["replayed"] is True
    assert standin.counts["identify"] == 1


async def test_replayed_press_is_taken_once(
    standin: StandIn, guild: Guild, card: Message, tom: Member
) -> None:
    waiting = Waiting()
    async with relaying(standin, waiting) as interactions:
        press = await standin.press(tom, card, "Admit", timeout_s=TIMEOUT_S)
        await guild.dispatch("INTERACTION_CREATE", press.payload)
        await standin.press(tom, card, "Admit", timeout_s=TIMEOUT_S)
        assert interactions.presses == 2
    assert press.shown == SIGNALLED


async def test_lost_acknowledgement_is_found_again(standin: StandIn, card: Message, tom: Member) -> None:
    """The callback took effect, its answer was lost, and the next try is told so."""
    standin.faults.fail_route(CALLBACK, status=503)
    standin.faults.fail_route(CALLBACK, drop=True, done=True)
    press = await press_and_see(standin, Waiting(), tom, card)
    assert press.shown == SIGNALLED
    assert standin.counts[CALLBACK] == 3


async def test_answer_is_tried_again(standin: StandIn, card: Message, tom: Member) -> None:
    route = ANSWER.replace("{application}", standin.application_id)
    standin.faults.fail_route(route, 2, status=502)
    press = await press_and_see(standin, Waiting(), tom, card)
    assert press.shown == SIGNALLED
    assert standin.counts[route] == 3


async def test_refused_answer_is_logged_without_token(
    standin: StandIn, card: Message, tom: Member, clock: Clock
) -> None:
    waiting = Waiting()

    async def for_too_long() -> None:
        clock.now += 901

    waiting.script.append(for_too_long)
    with capture_logs() as lines:
        async with relaying(standin, waiting) as interactions:
            press = await standin.press(tom, card, "Admit")
            await until(lambda: interactions.failures == 1)
    line = find(lines, "press_not_answered")
    assert line["reason"] == "Discord answers with 401, code 50027"
    assert press.token not in str(lines)
    assert waiting.decided is not None


async def test_same_person_presses_once_at_a_time(standin: StandIn, card: Message, tom: Member) -> None:
    waiting, go_on = Waiting(), asyncio.Event()
    waiting.script.append(go_on.wait)
    async with relaying(standin, waiting):
        first = await standin.press(tom, card, "Admit")
        await waiting.changed.wait()
        second = await standin.press(tom, card, "Decline", timeout_s=TIMEOUT_S)
        go_on.set()
        await standin.interactions.wait_answered(first, TIMEOUT_S)
    assert (first.shown, second.shown) == (SIGNALLED, UNDERWAY)
    assert len(waiting.sent) == 1


async def test_too_many_at_once_have_no_effect(
    standin: StandIn, card: Message, tom: Member, ada: Member, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.gateway.interactions.AT_ONCE", 1)
    waiting, go_on = Waiting(), asyncio.Event()
    waiting.script.append(go_on.wait)
    async with relaying(standin, waiting) as interactions:
        first = await standin.press(tom, card, "Admit")
        await waiting.changed.wait()
        dropped = await standin.press(ada, card, "Admit")
        await until(lambda: interactions.failures == 1)
        clock.now += 4
        go_on.set()
        await standin.interactions.wait_answered(first, TIMEOUT_S)
    assert (first.shown, dropped.shown) == (SIGNALLED, FAILED)
    assert [by.id for _, _, by, _ in waiting.sent] == [tom.id]


async def test_leaves_other_interactions_alone(standin: StandIn, guild: Guild) -> None:
    """Another program of the same application may answer them; none disturbs the frames behind it."""
    others: list[dict[str, Any]] = [
        {"type": 1},
        build_press(type=2, data={"name": "report"}),
        build_press(type=5, data={"custom_id": "signal:admit:x"}),
        build_press(data={"component_type": 2, "custom_id": "poll:1"}),
        build_press(data={"component_type": 3, "custom_id": "signal:admit:x", "values": ["x"]}),
        build_press(token="../../users/@me"),
        {},
    ]
    waiting = Waiting()
    async with InteractionRest(standin.api_url) as rest:
        interactions = Interactions(rest, waiting.send, asyncio.create_task)
        async with watching(standin, on_interaction=interactions.take) as watcher:
            with capture_logs() as lines:
                for other in others:
                    await guild.dispatch("INTERACTION_CREATE", other)
                await join(guild, "nelly")
                await watcher.wait_for(1)
    skipped = [line for line in lines if line["event"] == "interaction_skipped"]
    assert [line["log_level"] for line in skipped] == ["debug"] * len(others)
    assert (waiting.sent, standin.counts.get(CALLBACK)) == ([], None)


async def test_shutdown_finishes_presses(standin: StandIn, card: Message, tom: Member) -> None:
    waiting, go_on = Waiting(), asyncio.Event()
    waiting.script.append(go_on.wait)
    async with relaying(standin, waiting) as interactions:
        press = await standin.press(tom, card, "Admit")
        await waiting.changed.wait()
        asyncio.get_running_loop().call_soon(go_on.set)
    assert (press.shown, interactions.in_flight) == (SIGNALLED, 0)


async def test_shutdown_says_what_it_gives_up(standin: StandIn, card: Message, tom: Member) -> None:
    waiting = Waiting()
    waiting.script.append(asyncio.Event().wait)
    with capture_logs() as lines:
        async with relaying(standin, waiting, grace_s=0.0) as interactions:
            press = await standin.press(tom, card, "Admit")
            await waiting.changed.wait()
    assert (press.shown, interactions.in_flight) == (STOPPING, 0)
    assert find(lines, "press_given_up")["interaction_id"] == press.id


def _never_run(coroutine: Any) -> asyncio.Task[None]:
    """Take the place of the task of a process that is killed at once."""
    coroutine.close()
    return asyncio.create_task(asyncio.sleep(0))


async def test_warns_of_interactions_endpoint(standin: StandIn) -> None:
    """With such a URL in the developer portal Discord sends presses there, and nothing to the gateway."""
    standin.rest.interactions_url = "https://example.com/interactions"
    with capture_logs() as lines:
        async with relaying(standin, Waiting()):
            await until(lambda: any(line["event"] == "interactions_go_elsewhere" for line in lines))
    assert "clear it" in find(lines, "interactions_go_elsewhere")["reason"]


async def test_says_nothing_of_an_empty_endpoint(standin: StandIn, card: Message, tom: Member) -> None:
    with capture_logs() as lines:
        async with relaying(standin, Waiting()):
            await until(lambda: standin.counts.get("/applications/@me") == 1)
            await standin.press(tom, card, "Admit", timeout_s=TIMEOUT_S)
    assert [line["event"] for line in lines if line["log_level"] not in ("info", "debug")] == []
