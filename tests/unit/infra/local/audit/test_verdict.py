"""The audit itself: it finds nothing where all is well, and each thing that can be wrong."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from bot.clock import format_ms
from infra.local.audit import Stretch, audit
from infra.local.discord import Transition
from tests.support.story import Story, run

Told = list[dict[str, Any]]


@pytest.fixture(scope="module")
def story() -> Story:
    """Two people in a guild, and two processes with a stretch between them that neither of them watched."""
    story = Story()
    guild = story.guild
    lobby, stage = guild.add_voice_channel("Lobby"), guild.add_voice_channel("Stage")
    nelly, otto = guild.add_member("nelly"), guild.add_member("otto")
    story.watch()
    run(guild.join(nelly, lobby))
    run(guild.join(otto, lobby))
    run(guild.update(otto, self_mute=True))
    story.stop()
    run(guild.leave(nelly))
    run(guild.move(otto, stage))
    story.watch()
    run(guild.move(otto, lobby))
    run(guild.leave(otto))
    story.stop()
    return story


STRETCH = Stretch("restart", 3, 5)


def test_true_account_is_exact(story: Story) -> None:
    found = audit(story.transitions, story.told, lives=story.lives)
    assert found.exact
    assert found.faults == []
    assert (found.sent, found.seen, found.missed, found.inferred, found.gaps) == (7, 5, 2, 2, 1)
    assert found.reasons == {"restart"}


def test_known_stretch_gives_the_same_account(story: Story) -> None:
    believed = audit(story.transitions, story.told, lives=story.lives)
    assert audit(story.transitions, story.told, stretches=[STRETCH], lives=story.lives) == believed


def _drop(number: int) -> Callable[[Told], object]:
    return lambda told: told.pop(number)


def _twice(number: int) -> Callable[[Told], object]:
    return lambda told: told.insert(number, told[number])


def _swap(number: int) -> Callable[[Told], object]:
    return lambda told: told.insert(number, told.pop(number + 1))


def _set(number: int, *path: str, to: Any) -> Callable[[Told], object]:
    def change(told: Told) -> None:
        place = told[number]
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = to

    return change


# 0 joined, 1 joined, 2 updated, 3 gap, 4 left (inferred), 5 moved (inferred), 6 moved, 7 left
WRONG: dict[str, tuple[Callable[[Told], object], str]] = {
    "first lost": (_drop(0), "lost"),
    "one lost": (_drop(1), "lost"),
    "lost before gap": (_drop(2), "lost"),
    "gap lost": (_drop(3), "lost"),
    "inferred departure lost": (_drop(4), "lost"),
    "inferred move lost": (_drop(5), "lost"),
    "lost after gap": (_drop(6), "lost"),
    "last lost": (_drop(7), "lost"),
    "doubled": (_twice(1), "arrived 2 times"),
    "inferred doubled": (_twice(4), "arrived 2 times"),
    "gap doubled": (_twice(3), "arrived 2 times"),
    "swapped": (_swap(0), "out of order"),
    "seen before inferred": (_swap(5), "out of order"),
    "inferred before gap": (_swap(3), "out of order"),
    "inferred claims to be seen": (_set(4, "data", "inferred", to=False), "never happened"),
    "seen claims to be inferred": (_set(6, "data", "inferred", to=True), "never happened"),
    "other channel": (_set(1, "data", "channel", "id", to="999"), "never happened"),
    "other previous channel": (_set(6, "data", "previous_channel", "id", to="999"), "never happened"),
    "other person": (_set(7, "data", "user", "id", to="999"), "never happened"),
    "other kind": (_set(2, "type", to="discord.voice.joined"), "never happened"),
    "other changes": (_set(2, "data", "changes", to={"self_deaf": True}), "never happened"),
    "other flags": (_set(6, "data", "state", "self_stream", to=True), "never happened"),
    "other flags of one who joined": (_set(0, "data", "state", "mute", to=True), "never happened"),
    "other flags of one who was inferred": (_set(5, "data", "state", "deaf", to=True), "never happened"),
    "other occupants": (_set(1, "data", "occupants", to=3), "3 people in a channel of 2"),
    "other occupants when inferred": (_set(5, "data", "occupants", to=2), "2 people in a channel of 1"),
    "duration too long": (_set(7, "data", "duration_s", to=999.0), "a duration of 999.0 s"),
    "duration missing": (_set(7, "data", "duration_s", to=None), "a duration of None s"),
    "duration out of nothing": (_set(6, "data", "duration_s", to=1.0), "a duration of 1.0 s"),
    "duration of an arrival": (_set(0, "data", "duration_s", to=0.0), "a duration of 0.0 s"),
    "duration when inferred": (_set(4, "data", "duration_s", to=0.0), "a duration of 0.0 s"),
    "id out of order": (_set(1, "id", to="00000000000000000000000000"), "sorts before"),
    "gap for another reason": (_set(3, "data", "reason", to="session_lost"), "never happened"),
    "gap without beginning": (_set(3, "data", "from", to=None), "no beginning"),
    "gap begins in the future": (_set(3, "data", "from", to=format_ms(9_999_999_999_999)), "after its end"),
    "gap ends before it begins": (_set(3, "data", "until", to=format_ms(0)), "after its end"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_mistake_is_found(story: Story, mistake: str) -> None:
    """Where the stretch is known, each mistake is found by its name."""
    told = copy.deepcopy(story.told)
    change, fault = WRONG[mistake]
    change(told)
    found = audit(story.transitions, told, stretches=[STRETCH], lives=story.lives)
    assert not found.exact
    assert fault in "\n".join(found.faults)


@pytest.mark.parametrize("mistake", sorted(WRONG.keys() - {"gap for another reason"}))
def test_mistake_is_found_unaided(story: Story, mistake: str) -> None:
    """And where every declared gap is believed, but for the reason that it gives."""
    told = copy.deepcopy(story.told)
    WRONG[mistake][0](told)
    found = audit(story.transitions, told, lives=story.lives)
    assert not found.exact
    assert found.faults


def test_everything_lost_is_found(story: Story) -> None:
    found = audit(story.transitions, [])
    assert (found.seen, found.comparison.lost.total(), found.exact) == (0, 7, False)


def test_event_of_unknown_guild_is_invented(story: Story) -> None:
    elsewhere = copy.deepcopy(story.told[0])
    elsewhere["data"]["guild"]["id"] = "999"
    found = audit(story.transitions, [*story.told, elsewhere])
    assert found.comparison.invented.total() == 1
    assert not found.exact


def test_gap_too_many_is_found(story: Story) -> None:
    """Where nothing broke, a gap is no excuse, even if what it says would fit."""
    found = audit(story.transitions, story.told, stretches=[])
    assert not found.exact
    assert found.comparison.lost.total() == 2
    assert found.comparison.invented.total() == 3


def test_guilds_add_up(story: Story) -> None:
    other = Story()
    other.guild.id = "1"
    member, channel = other.guild.add_member("kite"), other.guild.add_voice_channel("Lobby")
    other.watch()
    run(other.guild.join(member, channel))
    sent: list[Transition] = [*other.transitions, *story.transitions]
    found = audit(sent, [*story.told, *other.told])
    assert found.exact
    assert (found.sent, found.seen, found.missed, found.gaps) == (8, 6, 2, 1)
    assert (found.comparison.guilds, found.comparison.exact_guilds) == (2, 2)


def test_resumed_session_excuses_absence(story: Story) -> None:
    """A duration may then be absent; one that is told must agree with the times."""
    told = copy.deepcopy(story.told)
    told[7]["data"]["duration_s"] = None
    assert audit(story.transitions, told, lives=story.lives, resumed=True).exact
    assert not audit(story.transitions, told, lives=story.lives).exact
    assert audit(story.transitions, story.told, lives=story.lives, resumed=True).exact
    told[7]["data"]["duration_s"] = 9.0
    assert not audit(story.transitions, told, lives=story.lives, resumed=True).exact
