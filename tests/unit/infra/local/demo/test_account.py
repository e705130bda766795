"""The account at the end of the demo: whatever is wrong with an evening keeps it from balancing."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from infra.local.audit import Stretch
from infra.local.demo.account import Account, Delays, Evening, Execution, draw_up
from infra.local.discord import PostedMessage
from tests.support.story import Story, run

Event = dict[str, Any]
_WHY = {"restart": "relay restarted", "session_lost": "Discord session lost"}
_WORDS = {
    "joined": "🟢 <@{user}> joined <#{channel}> · 1 there",
    "left": "🔴 <@{user}> left <#{previous}> after 3 s · 1 there",
    "moved": "🔵 <@{user}> moved from <#{previous}> to <#{channel}> · 1 there",
    "updated": "🟡 <@{user}> muted in <#{channel}>",
}


def write_line(event: Event) -> str:
    """Return the line for *event*, as the workflow writes it."""
    kind, data = event["type"].removeprefix("discord.voice."), event["data"]
    if kind == "gap":
        return f"⚠️ Not watching <t:1:T>-<t:1:T> ({_WHY[data['reason']]})"
    ids = {name: (data[key] or {}).get("id") for name, key in _KEYS.items()}
    return "<t:1:T> " + _WORDS[kind].format(**ids) + (" (inferred afterwards)" if data["inferred"] else "")


_KEYS = {"user": "user", "channel": "channel", "previous": "previous_channel"}


@pytest.fixture(scope="module")
def story() -> Story:
    """Four transitions that are seen, two that are missed, one on each side of a kill, and one more."""
    story = Story()
    guild = story.guild
    lobby, stage = guild.add_voice_channel("Lobby"), guild.add_voice_channel("Stage")
    nelly, moss, kite = (guild.add_member(name) for name in ("nelly", "moss", "kite"))
    story.watch()
    run(guild.join(nelly, lobby))
    run(guild.join(moss, lobby))
    run(guild.update(nelly, self_mute=True))
    run(guild.move(nelly, stage))
    story.stop("session_lost")
    run(guild.leave(moss))
    run(guild.join(kite, lobby))
    story.watch()
    run(guild.join(moss, stage))
    story.stop("restart")
    run(guild.update(kite, self_video=True))
    story.watch()
    run(guild.leave(nelly))
    return story


STRETCHES = [Stretch("session_lost", 4, 6), Stretch("restart", 6, 8)]
Draw = Callable[..., Account]


@pytest.fixture
def draw(story: Story) -> Draw:
    """Draw up the account of the story, with some of it changed."""

    def draw(
        events: Sequence[Event] = story.told,
        lines: Sequence[str] = tuple(map(write_line, story.told)),
        *,
        status: str = "SUCCEEDED",
        stretches: Sequence[Stretch] = STRETCHES,
        name: Callable[[int], str] = str,
    ) -> Account:
        """One execution for each event, half a second after the start, and a message for each line."""
        began = story.transitions[0].at
        executions = [
            Execution(name(number), status, began + 0.5 + number, [event])
            for number, event in enumerate(events)
        ]
        messages = [
            PostedMessage(str(number), began + 2 + number, {"embeds": [{"description": line}]}, b"", {}, {})
            for number, line in enumerate(lines)
        ]
        evening = Evening(story.guild.id, story.transitions, stretches, burst=range(2, 4))
        # As AWS lists them: the newest first.
        return draw_up(evening, executions[::-1], messages, slow_downs=7)

    return draw


@pytest.fixture
def lines(story: Story) -> list[str]:
    return list(map(write_line, story.told))


def test_whole_evening_balances(draw: Draw) -> None:
    whole = draw()
    assert whole.balanced
    assert (whole.sent, whole.missed, whole.delivered, whole.lost, whole.doubled) == (9, 3, 6, 0, 0)
    assert (whole.inferred, whole.gaps) == (3, 2)
    assert (whole.executions, whole.messages, whole.slow_downs) == (11, 11, 7)
    assert whole.burst == 2
    assert whole.burst_s == pytest.approx(0.001, rel=0.01)


def test_flawed_workflow_does_not_balance(story: Story, draw: Draw) -> None:
    """What an audit finds is found; here, each event that is lost, and each that is doubled."""
    for number, event in enumerate(story.told):
        assert not draw(events=[*story.told[:number], *story.told[number + 1 :]]).balanced
        doubled = draw(events=[*story.told, event])
        assert not doubled.balanced
        assert doubled.doubled == 1


FLAWS: dict[str, Callable[[list[str]], list[str]]] = {
    "lost": lambda lines: lines[1:],
    "doubled": lambda lines: [*lines, lines[2]],
    "cut off": lambda lines: [*lines[:-1], "… and 1 more"],
    "inferred": lambda lines: [*lines[:-1], lines[-1] + " (inferred afterwards)"],
    "another channel": lambda lines: [*lines[:3], lines[3].replace("from <#", "from <#9"), *lines[4:]],
    "gap lost": lambda lines: [*lines[:4], *lines[5:]],
    "gap for another reason": lambda lines: [*lines[:4], lines[8], *lines[5:]],
    "inferred, and not said": lambda lines: [
        *lines[:5],
        lines[5].removesuffix(" (inferred afterwards)"),
        *lines[6:],
    ],
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_flawed_channel_does_not_balance(draw: Draw, lines: list[str], flaw: str) -> None:
    assert not draw(lines=FLAWS[flaw](lines)).balanced


def test_failed_executions_do_not_balance(draw: Draw) -> None:
    failed = draw(status="FAILED")
    assert not failed.balanced
    assert failed.unsuccessful == {"FAILED": 11}


def test_reused_name_does_not_balance(draw: Draw) -> None:
    twice = draw(name=lambda number: str(min(number, 9)))
    assert not twice.balanced
    assert (twice.doubled, twice.repeated) == (1, {"9": 2})


def test_reused_id_does_not_balance(story: Story, draw: Draw) -> None:
    last = story.told[-1]["id"]
    twice = draw(events=[*story.told[:-2], *({**event, "id": last} for event in story.told[-2:])])
    assert not twice.balanced
    assert (twice.doubled, twice.repeated) == (1, {last: 2})


def test_break_without_excuse_does_not_balance(draw: Draw) -> None:
    unexpected = draw(stretches=STRETCHES[:1])
    assert not unexpected.balanced
    assert unexpected.lost == 1


def test_worse_of_both_counts(story: Story, draw: Draw, lines: list[str]) -> None:
    flawed = draw(events=[*story.told, story.told[0]], lines=lines[2:])
    assert (flawed.delivered, flawed.lost, flawed.doubled) == (4, 2, 1)


def test_overtaken_message_does_not_balance(draw: Draw, lines: list[str]) -> None:
    overtaken = draw(lines=[lines[1], lines[0], *lines[2:]])
    assert not overtaken.balanced
    assert overtaken.channel.misplaced == 1


def test_silence_is_all_lost(draw: Draw) -> None:
    lost = draw(events=[], lines=[])
    assert not lost.balanced
    assert (lost.delivered, lost.inferred, lost.gaps, lost.lost) == (0, 0, 0, 9 + 2)
    assert lost.to_execution == lost.to_message == Delays(None, None)


def test_same_twice_is_timed_in_turn(story: Story) -> None:
    first, line = story.transitions[0]._replace(at=100.0), write_line(story.told[0])
    messages = [
        PostedMessage(str(at), at, {"embeds": [{"description": line}]}, b"", {}, {}) for at in (101, 113)
    ]
    evening = Evening(story.guild.id, [first, first._replace(at=110.0)], [], range(1, 2))
    runs = [Execution(str(at), "SUCCEEDED", at, [story.told[0]]) for at in (100.25, 110.5)]
    timed = draw_up(evening, runs, messages, slow_downs=0)
    assert timed.to_execution == Delays(0.25, 0.5)
    assert timed.to_message == Delays(1.0, 3.0)
