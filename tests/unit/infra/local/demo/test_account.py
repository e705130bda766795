"""The count at the end of the demo finds what is wrong with an evening; else it were worth nothing."""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from infra.local.demo.account import Account, Evening, Execution, draw_up
from infra.local.demo.comparison import compare
from infra.local.demo.expectation import Stretch
from infra.local.demo.facts import Fact, Places, Seat
from infra.local.discord import PostedMessage, Transition


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

# Four transitions that the bot sees, two that it misses, two that happen around a kill, and one more.
SENT = [
    Transition("joined", "1", "10", "20", None, {}, "live", 100.0),
    Transition("joined", "1", "11", "20", None, {}, "live", 101.0),
    Transition("updated", "1", "10", "20", None, {"self_mute": True}, "live", 102.0),
    Transition("moved", "1", "10", "21", "20", {}, "live", 103.0),
    Transition("left", "1", "11", None, "20", {}, "buffered", 104.0),
    Transition("joined", "1", "12", "20", None, {}, "buffered", 105.0),
    Transition("joined", "1", "11", "21", None, {}, "live", 106.0),
    Transition("updated", "1", "12", "20", None, {"self_video": True}, "live", 107.0),
    Transition("left", "1", "10", None, "21", {}, "live", 108.0),
]


def places(**seats: tuple[str, str]) -> Places:
    return {user[1:]: Seat(channel, frozenset(flags.split())) for user, (channel, flags) in seats.items()}


PLACES = [
    places(),
    places(_10=("20", "")),
    places(_10=("20", ""), _11=("20", "")),
    places(_10=("20", "self_mute"), _11=("20", "")),
    places(_10=("21", "self_mute"), _11=("20", "")),
    places(_10=("21", "self_mute")),
    places(_10=("21", "self_mute"), _12=("20", "")),
    places(_10=("21", "self_mute"), _12=("20", ""), _11=("21", "")),
    places(_10=("21", "self_mute"), _12=("20", "self_video"), _11=("21", "")),
    places(_12=("20", "self_video"), _11=("21", "")),
]
STRETCHES = [Stretch("session_lost", 4, 6), Stretch("restart", 6, 8)]


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


def gap(reason: str, since: float | None, until: float) -> dict[str, Any]:
    def write(at: float) -> str:
        return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds")

    data = {"guild": {"id": "1"}, "from": since and write(since), "until": write(until), "reason": reason}
    return {"type": "discord.voice.gap", "data": data}


EVENTS = [
    event("joined", "10", "20", None),
    event("joined", "11", "20", None),
    event("updated", "10", "20", None, self_mute=True),
    event("moved", "10", "21", "20"),
    gap("session_lost", 103.5, 105.5),
    event("left", "11", None, "20", inferred=True),
    event("joined", "12", "20", None, inferred=True),
    # The bot saw the first of the two and was killed before it saw the second.
    event("joined", "11", "21", None),
    gap("restart", 106.5, 107.5),
    event("updated", "12", "20", None, inferred=True, self_video=True),
    event("left", "10", None, "21"),
]
LINES = [
    "<t:100:T> 🟢 <@10> joined <#20> · 1 there",
    "<t:101:T> 🟢 <@11> joined <#20> · 2 there",
    "<t:102:T> 🟡 <@10> muted in <#20>",
    "<t:103:T> 🔵 <@10> moved from <#20> to <#21> after 3 s · 1 there",
    "⚠️ Not watching <t:103:T>-<t:105:T> (Discord session lost)",
    "<t:105:T> 🔴 <@11> left <#20> · nobody there (inferred afterwards)",
    "<t:105:T> 🟢 <@12> joined <#20> · 1 there (inferred afterwards)",
    "<t:106:T> 🟢 <@11> joined <#21> · 2 there",
    "⚠️ Not watching <t:106:T>-<t:107:T> (relay restarted)",
    "<t:107:T> 🟡 <@12> turned the camera on in <#20> (inferred afterwards)",
    "<t:108:T> 🔴 <@10> left <#21> after 3 s · 1 there",
]


def account(
    events: Sequence[dict[str, Any]] = EVENTS,
    lines: Sequence[str] = LINES,
    *,
    status: str = "SUCCEEDED",
    stretches: Sequence[Stretch] = STRETCHES,
    name: Callable[[int], str] = str,
    event_id: Callable[[int], str] = str,
) -> Account:
    """One execution for each event, half a second later, and a message for each line, after two seconds."""
    executions = [
        Execution(name(number), status, 100.5 + number, [{"id": event_id(number), **each}])
        for number, each in enumerate(events)
    ]
    messages = [
        PostedMessage(str(number), 102.0 + number, {"embeds": [{"description": line}]}, b"", {}, {})
        for number, line in enumerate(lines)
    ]
    evening = Evening("1", SENT, PLACES, stretches, burst=range(2, 4))
    # As AWS lists them: the newest first.
    return draw_up(evening, executions[::-1], messages, slow_downs=7)


def without(index: int) -> list[dict[str, Any]]:
    return [*EVENTS[:index], *EVENTS[index + 1 :]]


def replaced(index: int, *others: dict[str, Any]) -> list[dict[str, Any]]:
    return [*EVENTS[:index], *others, *EVENTS[index + 1 :]]


def test_whole_evening_balances() -> None:
    whole = account()
    assert whole.balanced
    assert (whole.sent, whole.unseen, whole.delivered, whole.lost, whole.doubled) == (9, 3, 6, 0, 0)
    assert (whole.inferred, whole.gaps, whole.uncovered) == (3, 2, 0)
    assert (whole.executions, whole.messages, whole.slow_downs) == (11, 11, 7)
    assert (whole.burst, whole.burst_s) == (2, 1.0)
    assert (whole.to_execution_s, whole.to_execution_in_burst_s) == (1.0, 0.5)
    assert (whole.to_message_s, whole.to_message_in_burst_s) == (2.5, 2.0)


SAW_BOTH = [
    *EVENTS[:8],
    event("updated", "12", "20", None, self_video=True),
    gap("restart", 107.1, 107.5),
    EVENTS[10],
]
SAW_NEITHER = [
    *EVENTS[:7],
    gap("restart", 105.6, 107.5),
    event("updated", "12", "20", None, inferred=True, self_video=True),
    event("joined", "11", "21", None, inferred=True),
    EVENTS[10],
]
SAW_ONLY_THE_SECOND = [
    *EVENTS[:7],
    gap("restart", 105.6, 106.5),
    event("joined", "11", "21", None, inferred=True),
    event("updated", "12", "20", None, self_video=True),
    EVENTS[10],
]
SAW_THE_FIRST_OF_THOSE_UNHEARD = [
    *EVENTS[:4],
    event("left", "11", None, "20"),
    gap("session_lost", 104.5, 105.5),
    *EVENTS[6:],
]


@pytest.mark.parametrize(
    ("events", "delivered", "inferred"),
    [
        (SAW_BOTH, 7, 2),
        (SAW_NEITHER, 5, 4),
        (SAW_ONLY_THE_SECOND, 6, 3),
        (SAW_THE_FIRST_OF_THOSE_UNHEARD, 7, 2),
    ],
)
def test_what_happened_around_a_break_may_be_seen_or_inferred(
    events: list[dict[str, Any]], delivered: int, inferred: int
) -> None:
    around = account(events)
    assert around.workflow.complete
    assert (around.workflow.misplaced, around.uncovered) == (0, 0)
    assert (around.workflow.delivered, around.workflow.inferred) == (delivered, inferred)


@pytest.mark.parametrize(
    "events",
    [
        without(0),
        without(10),
        without(4),
        without(8),
        without(5),
        without(7),
        without(9),
        [*EVENTS, EVENTS[0]],
        [*EVENTS, EVENTS[9]],
        [EVENTS[1], EVENTS[0], *EVENTS[2:]],
        [*EVENTS[:4], EVENTS[5], EVENTS[4], *EVENTS[6:]],
        [*EVENTS[:4], *EVENTS[8:10], *EVENTS[4:8], EVENTS[10]],
        [*EVENTS, event("joined", "99", "20", None)],
        [*EVENTS[:7], event("joined", "99", "20", None, inferred=True), *EVENTS[7:]],
        replaced(0, event("joined", "10", "20", None, inferred=True)),
        replaced(2, event("updated", "10", "20", None, self_mute=False)),
        replaced(3, event("moved", "10", "21", "22")),
        replaced(5, event("left", "11", None, "20")),
        replaced(9, event("updated", "12", "20", None, inferred=True, self_video=False)),
        replaced(6, event("joined", "12", "21", None, inferred=True)),
        replaced(4, gap("restart", 103.5, 105.5)),
        replaced(4, gap("session_lost", 104.5, 105.5)),
        replaced(4, gap("session_lost", 103.5, 104.5)),
        [*EVENTS, gap("guild_unavailable", 108, 109)],
    ],
    ids=[
        "event lost",
        "last event lost",
        "gap not declared",
        "gap of the kill not declared",
        "inferred event lost",
        "event lost that was neither seen nor inferred",
        "inferred event of the kill lost",
        "event doubled",
        "inferred event doubled",
        "events in the wrong order",
        "inferred before the gap",
        "gaps in the wrong order",
        "event of something that never happened",
        "inferred event of something that never happened",
        "event that was seen is inferred",
        "event with another change",
        "event with another channel",
        "event seen that nobody could see",
        "inferred event with another change",
        "inferred event with another channel",
        "gap with another reason",
        "gap that begins too late",
        "gap that ends too early",
        "gap where there was none",
    ],
)
def test_workflow_with_a_flaw_does_not_balance(events: list[dict[str, Any]]) -> None:
    assert not account(events).balanced


@pytest.mark.parametrize(
    "lines",
    [
        LINES[1:],
        [*LINES, LINES[2]],
        [*LINES[:-1], "… and 1 more"],
        [*LINES[:-1], LINES[-1] + " (inferred afterwards)"],
        [*LINES[:3], LINES[3].replace("#20", "#22"), *LINES[4:]],
        [*LINES[:4], *LINES[5:]],
        [*LINES[:4], LINES[4].replace("Discord session lost", "who knows"), *LINES[5:]],
        [*LINES[:5], LINES[5].removesuffix(" (inferred afterwards)"), *LINES[6:]],
    ],
    ids=[
        "lost",
        "doubled",
        "cut off",
        "inferred",
        "another channel",
        "gap lost",
        "gap for another reason",
        "inferred, and not said",
    ],
)
def test_channel_with_a_flawed_line_does_not_balance(lines: list[str]) -> None:
    assert not account(lines=lines).balanced


def test_failed_executions_do_not_balance() -> None:
    assert not account(status="FAILED").balanced


def test_name_of_two_executions_does_not_balance() -> None:
    twice = account(name=lambda number: str(min(number, 9)))
    assert not twice.balanced
    assert twice.doubled == 1


def test_id_of_two_events_does_not_balance() -> None:
    twice = account(event_id=lambda number: str(min(number, 8)))
    assert not twice.balanced
    assert twice.doubled == 2


def test_what_is_missing_outside_of_a_stretch_is_lost() -> None:
    """Even where a gap and what was inferred would explain it: nobody broke anything there."""
    unexpected = account(stretches=STRETCHES[:1])
    assert not unexpected.balanced
    assert unexpected.lost == 1
    assert unexpected.workflow.invented.total() == 2


def test_gap_since_nobody_knows_when_covers_all() -> None:
    assert account(replaced(4, gap("session_lost", None, 105.5))).balanced


def test_what_was_on_its_way_at_a_break_may_be_older_than_the_gap() -> None:
    """It was live, so the bot may have seen something later before it."""
    late = account(replaced(8, gap("restart", 107.2, 107.5)))
    assert (late.balanced, late.uncovered) == (True, 0)


def test_worse_of_workflow_and_channel_is_what_counts() -> None:
    flawed = account(events=[*EVENTS, EVENTS[0]], lines=LINES[2:])
    assert (flawed.delivered, flawed.lost, flawed.doubled) == (4, 2, 1)


def test_message_that_was_overtaken_is_no_flaw() -> None:
    """Discord decides when it takes a message; the order of the executions is the promise."""
    overtaken = account(lines=[LINES[1], LINES[0], *LINES[2:]])
    assert overtaken.balanced
    assert overtaken.channel.misplaced == 1


def test_evening_of_which_nothing_arrived_is_all_lost() -> None:
    lost = account(events=[], lines=[])
    assert not lost.balanced
    assert (lost.delivered, lost.inferred, lost.gaps, lost.lost) == (0, 0, 0, 9 + 2)
    assert (lost.to_execution_s, lost.to_message_s) == (None, None)


def test_same_thing_twice_is_timed_first_by_first() -> None:
    messages = [
        PostedMessage(str(at), at, {"embeds": [{"description": LINES[0]}]}, b"", {}, {}) for at in (101, 113)
    ]
    evening = Evening("1", [SENT[0], SENT[0]._replace(at=110.0)], [{}] * 3, [], range(1, 2))
    runs = [Execution(str(at), "SUCCEEDED", at, [{"id": str(at), **EVENTS[0]}]) for at in (100.25, 110.5)]
    timed = draw_up(evening, runs, messages, slow_downs=0)
    assert (timed.to_execution_s, timed.to_execution_in_burst_s) == (0.25, 0.5)
    assert (timed.to_message_s, timed.to_message_in_burst_s) == (1.0, 3.0)
