"""What to expect around a break, where the relay may have seen more or less."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from infra.local.audit import Audit, Log, Stretch, audit, expect, parse_event
from infra.local.audit.alignment import align, take_apart
from infra.local.audit.places import Seat, infer, trace
from infra.local.discord import Flag, Transition
from tests.support.story import Story, run

Watch = Callable[[Story, int], None]
"""Is asked before each of the nine transitions and after the last, by number, whether to watch."""


def play(watch: Watch) -> Story:
    """Four transitions that are seen, two that are missed, two around a kill, and one more."""
    story = Story()
    guild = story.guild
    lobby, stage = guild.add_voice_channel("Lobby"), guild.add_voice_channel("Stage")
    nelly, moss, kite = (guild.add_member(name) for name in ("nelly", "moss", "kite"))
    story.watch()
    steps: list[Callable[[], Any]] = [
        lambda: guild.join(nelly, lobby),
        lambda: guild.join(moss, lobby),
        lambda: guild.update(nelly, self_mute=True),
        lambda: guild.move(nelly, stage),
        lambda: guild.leave(moss),
        lambda: guild.join(kite, lobby),
        lambda: guild.join(moss, stage),
        lambda: guild.update(kite, self_video=True),
        lambda: guild.leave(nelly),
    ]
    for number, step in enumerate(steps):
        watch(story, number)
        run(step())
    return story


STRETCHES = [Stretch("session_lost", 4, 6), Stretch("restart", 6, 8)]


def blind(*times: tuple[str, int, int]) -> Watch:
    """Watch but for some times, each from before one number until before another."""

    def watch(story: Story, number: int) -> None:
        for reason, began, ended in times:
            if number == ended and not story.watching:
                story.watch()
            if number == began:
                story.stop(reason)  # type: ignore[arg-type]
                if began == ended:
                    story.watch()

    return watch


@pytest.mark.parametrize(
    ("times", "seen", "inferred"),
    [
        ([("session_lost", 4, 6), ("restart", 7, 8)], 6, 3),
        ([("session_lost", 4, 6), ("restart", 8, 8)], 7, 2),
        ([("session_lost", 4, 6), ("restart", 6, 8)], 5, 4),
        ([("session_lost", 4, 6), ("restart", 6, 7)], 6, 3),
        ([("session_lost", 5, 6), ("restart", 7, 8)], 7, 2),
        ([("session_lost", 4, 4), ("restart", 6, 6)], 9, 0),
    ],
    ids=["usual", "saw both", "saw neither", "saw the second", "saw the first unheard", "missed nothing"],
)
def test_break_may_be_seen_or_inferred(times: list[tuple[str, int, int]], seen: int, inferred: int) -> None:
    """How much a relay saw before it was killed cannot be observed from outside."""
    story = play(blind(*times))
    found = audit(story.transitions, story.told, stretches=STRETCHES, lives=story.lives)
    assert found.faults == []
    assert (found.seen, found.inferred, found.gaps) == (seen, inferred, 2)
    assert found.missed == 9 - seen


def test_missed_outside_stretch_is_lost() -> None:
    """Even where a gap and what was inferred would explain it: nothing broke there."""
    story = play(blind(("session_lost", 4, 6), ("restart", 7, 8)))
    found = audit(story.transitions, story.told, stretches=STRETCHES[:1])
    assert (found.comparison.lost.total(), found.comparison.invented.total()) == (1, 2)
    assert audit(story.transitions, story.told).exact


def test_undeclared_stretch_is_lost() -> None:
    story = play(blind(("session_lost", 4, 6)))
    found = audit(story.transitions, story.told, stretches=STRETCHES)
    assert found.comparison.lost.total() == 1
    assert found.comparison.gaps_expected == 2


def test_gap_after_gap_covers_both() -> None:
    """What came and went between two gaps, of which nothing was seen, may belong to either."""
    story = Story()
    channel, nelly = story.guild.add_voice_channel("Lobby"), story.guild.add_member("nelly")
    story.watch()
    run(story.guild.join(nelly, channel))
    story.stop()
    run(story.guild.update(nelly, self_mute=True))
    run(story.guild.update(nelly, self_mute=False))
    story.watch()
    story.stop()
    story.watch()
    found = audit(story.transitions, story.told, lives=story.lives)
    assert found.faults == []
    assert (found.missed, found.inferred, found.gaps) == (2, 0, 2)


def test_closest_cut_names_one_fault() -> None:
    """One event that is lost makes no other look lost."""
    story = play(blind(("session_lost", 4, 6), ("restart", 7, 8)))
    for number, event in enumerate(story.told):
        told = [*story.told[:number], *story.told[number + 1 :]]
        if not event["type"].endswith("gap"):
            found = audit(story.transitions, told, stretches=STRETCHES)
            (lost,) = found.comparison.lost.elements()
            assert lost.user_id == event["data"]["user"]["id"], number
            assert found.comparison.invented == {}


def long_story(steps: int) -> Story:
    story = Story()
    lobby, stage = story.guild.add_voice_channel("Lobby"), story.guild.add_voice_channel("Stage")
    nelly = story.guild.add_member("nelly")
    story.watch()
    run(story.guild.join(nelly, lobby))
    for number in range(steps):
        if number in (steps // 3, steps // 2):
            story.stop()
        if number in (steps // 3 + 3, steps // 2 + 4):
            story.watch()
        run(story.guild.move(nelly, lobby if number % 2 else stage, self_mute=number % 3 == 0))
    return story


def test_long_log_is_explained_exactly() -> None:
    story = long_story(300)
    found = audit(story.transitions, story.told, lives=story.lives)
    assert found.faults == []
    assert (found.sent, found.missed, found.gaps) == (301, 7, 2)


@pytest.mark.parametrize("number", [0, 50, 120, 170, -1])
def test_long_log_is_no_excuse(number: int) -> None:
    """Among very many cuts the closest is not looked for, but what is wrong is found all the same."""
    story = long_story(300)
    del story.told[number]
    found = audit(story.transitions, story.told)
    assert not found.exact
    assert found.comparison.lost


def test_exact_cuts_are_the_shortest() -> None:
    story = long_story(40)
    log = Log.build(story.guild.id, story.transitions)
    told = list(map(parse_event, story.told))
    stretches = [Stretch("restart", 0, 41)] * 2
    pieces = take_apart(stretches, told)
    assert align(log, stretches, pieces) == [range(14, 17), range(21, 25)]
    assert expect(log, told).missed == [(0, range(14, 17)), (1, range(21, 25))]


# --- who is where


def test_places_follow_the_log() -> None:
    story = play(lambda *_: None)
    *_, last = trace(story.transitions)
    states = story.guild.voice_states.items()
    assert {user: seat.channel_id for user, seat in last.items()} == {
        user: state.channel.id for user, state in states
    }
    assert [seat.flags for seat in last.values()] == [{"self_video"}, frozenset()]


def test_one_transition_infers_itself() -> None:
    story = play(lambda *_: None)
    log = Log.build(story.guild.id, story.transitions)
    for place, fact in enumerate(log.facts):
        assert list(log.infer(range(place, place + 1))) == [fact.as_inferred()]


def test_there_and_back_infers_nothing() -> None:
    """To another channel and back, without leaving voice."""
    seat = Seat("20", frozenset({"self_mute"}), 1)
    assert list(infer("1", {"10": seat}, {"10": seat})) == []


def test_return_infers_leave_and_join() -> None:
    """Voice was left in between, and another session says so."""
    seat = Seat("20", frozenset({"self_mute"}), 1)
    left, joined = infer("1", {"10": seat}, {"10": seat._replace(channel_id="21", visit=2)})
    assert (left.kind, left.previous_channel_id) == ("left, inferred", "20")
    assert (joined.kind, joined.channel_id) == ("joined, inferred", "21")


# --- gaps


def check(events: Sequence[dict[str, Any]], story: Story, **options: Any) -> Audit:
    return audit(story.transitions, events, stretches=STRETCHES, **options)


def gap_of(story: Story, **data: Any) -> list[dict[str, Any]]:
    """Return what was told, with the first gap changed."""
    told = copy.deepcopy(story.told)
    next(event for event in told if event["type"].endswith("gap"))["data"].update(data)
    return told


def later(timestamp: str, by_ms: int) -> str:
    return timestamp[:-4] + f"{int(timestamp[-4:-1]) + by_ms:03}Z"


@pytest.fixture
def story() -> Story:
    return play(blind(("session_lost", 4, 6), ("restart", 7, 8)))


def test_gap_that_begins_too_late(story: Story) -> None:
    since = story.told[4]["data"]["from"]
    told = gap_of(story, **{"from": later(since, 2)})
    assert check(told, story, lag_s=0).short_gaps == ["gap 0 begins after something that was missed"]
    assert check(told, story, lag_s=0.01).exact


def test_gap_that_ends_too_early(story: Story) -> None:
    until = story.told[4]["data"]["until"]
    told = gap_of(story, until=later(until, -2))
    assert "gap 0 ends before something that was missed" in check(told, story).short_gaps


def test_live_frame_may_precede_gap(story: Story) -> None:
    """It was on its way when the relay was killed, which may have seen something later before."""
    since = story.told[4]["data"]["from"]
    told = gap_of(story, **{"from": later(since, 2)})
    sent = [
        transition._replace(reach="live") if transition.reach == "unseen" else transition
        for transition in story.transitions
    ]
    assert audit(sent, told, stretches=STRETCHES, lag_s=0).exact


def test_first_gap_may_lack_beginning() -> None:
    """Of a guild of which nothing was told before, the relay may not know since when."""
    story = Story()
    channel, nelly = story.guild.add_voice_channel("Lobby"), story.guild.add_member("nelly")
    story.watch()
    story.stop()
    run(story.guild.join(nelly, channel))
    story.watch()
    assert audit(story.transitions, gap_of(story, **{"from": None})).exact


def test_gap_may_be_left_open(story: Story) -> None:
    told = gap_of(story, **{"from": None})
    assert not check(told, story).exact
    assert check(told, story, open_gaps=True).exact


def test_gap_cannot_begin_after_its_watcher(story: Story) -> None:
    """Nothing was missed, but the process that watched had ended before."""
    story = play(blind(("session_lost", 4, 4), ("restart", 7, 8)))
    since = story.told[4]["data"]["from"]
    told = gap_of(story, **{"from": later(since, 1)})
    assert check(told, story).exact
    faults = check(told, story, lives=story.lives).short_gaps
    assert faults == ["gap 0 begins after the end of the process that watched before"]


def test_watcher_must_have_lived(story: Story) -> None:
    faults = check(story.told, story, lives=story.lives[1:]).short_gaps
    assert faults == ["gap 0 follows an event of a time in which no process lived"]


def test_full_disk_keeps_arrivals() -> None:
    """What a full disk did not take was seen: a duration then may be known, but not a negative one."""
    story = Story()
    channel, nelly = story.guild.add_voice_channel("Lobby"), story.guild.add_member("nelly")
    story.watch()
    run(story.guild.join(nelly, channel))
    story.stop("store_full")
    run(story.guild.update(nelly, self_mute=True))
    story.watch()
    run(story.guild.leave(nelly))
    left = story.told[-1]["data"]
    for duration_s, exact in ((0.005, True), (None, True), (-1.0, False)):
        left["duration_s"] = duration_s
        assert audit(story.transitions, story.told).exact is exact


def test_unknown_flags_match_nothing(story: Story) -> None:
    sent: list[Transition] = [
        transition._replace(flags=Flag.DEAF) if place == 8 else transition
        for place, transition in enumerate(story.transitions)
    ]
    assert not check(story.told, story, lives=()).comparison.lost
    assert audit(sent, story.told, stretches=STRETCHES).comparison.lost.total() == 1
