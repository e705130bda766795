"""The count at the end of the demo finds what is wrong with an evening; else it were worth nothing."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from infra.local.demo.account import Account, Execution, compare, draw_up
from infra.local.demo.facts import Fact
from infra.local.standin import PostedMessage, Transition


def fact(number: int, guild_id: str = "1") -> Fact:
    return Fact("joined", guild_id, str(number), "20", None, ())


ONE, TWO, THREE, FOUR = map(fact, range(4))


def test_same_is_complete_and_in_order() -> None:
    comparison = compare([ONE, TWO, ONE], [ONE, TWO, ONE])
    assert comparison.complete
    assert (comparison.delivered, comparison.misplaced) == (3, 0)


@pytest.mark.parametrize(
    ("found", "lost", "duplicated", "invented", "misplaced"),
    [
        ([ONE, THREE], {TWO: 1}, {}, {}, 0),
        ([], {ONE: 1, TWO: 1, THREE: 1}, {}, {}, 0),
        ([ONE, TWO, TWO, THREE], {}, {TWO: 1}, {}, 0),
        ([ONE, TWO, THREE, ONE, ONE], {}, {ONE: 2}, {}, 0),
        ([ONE, TWO, FOUR, THREE], {}, {}, {FOUR: 1}, 0),
        ([TWO, ONE, THREE], {}, {}, {}, 1),
        ([THREE, TWO, ONE], {}, {}, {}, 2),
        ([THREE, ONE, ONE], {TWO: 1}, {ONE: 1}, {}, 1),
    ],
)
def test_difference_is_named(
    found: list[Fact],
    lost: dict[Fact, int],
    duplicated: dict[Fact, int],
    invented: dict[Fact, int],
    misplaced: int,
) -> None:
    comparison = compare([ONE, TWO, THREE], found)
    assert comparison.lost == lost
    assert comparison.duplicated == duplicated
    assert comparison.invented == invented
    assert comparison.misplaced == misplaced
    assert comparison.complete is not bool(lost or duplicated or invented)


def test_order_counts_within_a_guild_only() -> None:
    elsewhere = fact(1, guild_id="2")
    assert compare([ONE, TWO, elsewhere], [elsewhere, ONE, TWO]).misplaced == 0


def test_same_thing_twice_may_be_lost_once() -> None:
    comparison = compare([ONE, TWO, ONE], [ONE, TWO])
    assert (comparison.lost, comparison.delivered) == ({ONE: 1}, 2)


# --- the whole account

SENT = [
    Transition("joined", "1", "10", "20", None, {}, "live", 100.0),
    Transition("joined", "1", "11", "20", None, {}, "live", 101.0),
    Transition("updated", "1", "10", "20", None, {"self_mute": True}, "live", 102.0),
    Transition("moved", "1", "10", "21", "20", {}, "live", 103.0),
    Transition("left", "1", "11", None, "20", {}, "live", 104.0),
]


def event(
    kind: str,
    user: str,
    channel: str | None,
    previous: str | None,
    *,
    inferred: bool = False,
    **changes: bool,
) -> dict[str, Any]:
    return {
        "type": f"discord.voice.{kind}",
        "data": {
            "guild": {"id": "1"},
            "user": {"id": user},
            "channel": channel and {"id": channel},
            "previous_channel": previous and {"id": previous},
            "changes": changes,
            "inferred": inferred,
        },
    }


EVENTS = [
    event("joined", "10", "20", None),
    event("joined", "11", "20", None),
    event("updated", "10", "20", None, self_mute=True),
    event("moved", "10", "21", "20"),
    event("left", "11", None, "20"),
]
LINES = [
    "<t:100:T> 🟢 <@10> joined <#20> · 1 there",
    "<t:101:T> 🟢 <@11> joined <#20> · 2 there",
    "<t:102:T> 🟡 <@10> muted in <#20>",
    "<t:103:T> 🔵 <@10> moved from <#20> to <#21> after 3 s · 1 there",
    "<t:104:T> 🔴 <@11> left <#20> after 3 s · nobody there",
]


def account(
    events: Sequence[dict[str, Any]] = EVENTS, lines: Sequence[str] = LINES, *, status: str = "SUCCEEDED"
) -> Account:
    """One execution for each event, half a second later, and a message for each line, after two seconds."""
    executions = [
        Execution(str(number), status, 100.5 + number, [each]) for number, each in enumerate(events)
    ]
    messages = [
        PostedMessage(str(number), 102.0 + number, {"embeds": [{"description": line}]}, b"", {}, {})
        for number, line in enumerate(lines)
    ]
    # As AWS lists them: the newest first.
    return draw_up(SENT, executions[::-1], messages, burst=range(3, 5), slow_downs=7)


def test_whole_evening_balances() -> None:
    whole = account()
    assert whole.balanced
    assert (whole.delivered, whole.lost, whole.duplicated) == (5, 0, 0)
    assert (whole.executions, whole.messages, whole.slow_downs) == (5, 5, 7)
    assert (whole.burst, whole.burst_s) == (2, 1.0)
    assert (whole.to_execution_s, whole.to_message_s, whole.to_message_in_burst_s) == (0.5, 2.0, 2.0)


@pytest.mark.parametrize(
    "broken",
    [
        lambda: account(events=EVENTS[:-1]),
        lambda: account(events=[*EVENTS, EVENTS[0]]),
        lambda: account(events=[EVENTS[1], EVENTS[0], *EVENTS[2:]]),
        lambda: account(events=[*EVENTS, event("joined", "99", "20", None)]),
        lambda: account(events=[event("joined", "10", "20", None, inferred=True), *EVENTS[1:]]),
        lambda: account(
            events=[*EVENTS[:2], event("updated", "10", "20", None, self_mute=False), *EVENTS[3:]]
        ),
        lambda: account(events=[*EVENTS[:3], event("moved", "10", "21", "22"), EVENTS[4]]),
        lambda: account(events=[*EVENTS, {"type": "discord.voice.gap", "data": {"guild": {"id": "1"}}}]),
        lambda: account(lines=LINES[1:]),
        lambda: account(lines=[*LINES, LINES[2]]),
        lambda: account(lines=[*LINES[:-1], "… and 1 more"]),
        lambda: account(lines=[*LINES[:-1], LINES[-1] + " (inferred afterwards)"]),
        lambda: account(lines=[*LINES[:3], LINES[3].replace("#20", "#22"), LINES[4]]),
        lambda: account(status="FAILED"),
    ],
    ids=[
        "event lost",
        "event doubled",
        "events in the wrong order",
        "event of something that never happened",
        "event inferred",
        "event with another change",
        "event with another channel",
        "gap",
        "line lost",
        "line doubled",
        "line cut off",
        "line inferred",
        "line with another channel",
        "executions failed",
    ],
)
def test_evening_with_a_flaw_does_not_balance(broken: Callable[[], Account]) -> None:
    assert not broken().balanced


def test_worse_of_workflow_and_channel_is_what_counts() -> None:
    flawed = account(events=[*EVENTS, EVENTS[0]], lines=LINES[2:])
    assert (flawed.delivered, flawed.lost, flawed.duplicated) == (3, 2, 1)


def test_message_that_was_overtaken_is_no_flaw() -> None:
    """Discord decides when it takes a message; the order of the executions is the promise."""
    overtaken = account(lines=[LINES[1], LINES[0], *LINES[2:]])
    assert overtaken.balanced
    assert overtaken.channel.misplaced == 1


def test_evening_of_which_nothing_arrived_is_all_lost() -> None:
    lost = account(events=[], lines=[])
    assert not lost.balanced
    assert (lost.delivered, lost.lost) == (0, 5)
    assert (lost.to_execution_s, lost.to_message_s) == (None, None)


def test_same_thing_twice_is_timed_first_by_first() -> None:
    messages = [
        PostedMessage(str(at), at, {"embeds": [{"description": LINES[0]}]}, b"", {}, {}) for at in (101, 113)
    ]
    timed = draw_up([SENT[0], SENT[0]._replace(at=110.0)], [], messages, burst=range(1, 2), slow_downs=0)
    assert (timed.to_message_s, timed.to_message_in_burst_s) == (1.0, 3.0)
