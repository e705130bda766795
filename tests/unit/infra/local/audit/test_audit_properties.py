"""For every course of events and breaks, a true account is exact, and one changed event is found."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from infra.local.audit import audit
from tests.support.story import Story, run

PEOPLE = 3


# Who, which of the channels (or none), and whether muted.
steps = st.tuples(st.integers(0, PEOPLE - 1), st.integers(0, 2), st.booleans())
breaks = st.sampled_from(["restart", "session_lost", "guild_unavailable", "store_full"])
courses = st.lists(st.one_of(steps, steps, steps, breaks, st.none()), min_size=1, max_size=40)
"""Steps, the beginnings of breaks by their reasons, and their ends."""


def play(course: list[Any]) -> Story:
    story = Story()
    guild = story.guild
    channels = [guild.add_voice_channel("Lobby"), guild.add_stage_channel("Stage")]
    people = [guild.add_member(f"person{number}") for number in range(PEOPLE)]
    story.watch()
    for what in course:
        if what is None:
            if not story.watching:
                story.watch()
        elif isinstance(what, str):
            if story.watching:
                story.stop(what)  # type: ignore[arg-type]
        else:
            who, where, muted = what
            member, state = people[who], guild.voice_states.get(people[who].id)
            if state is None:
                run(guild.join(member, channels[where % 2], self_mute=muted))
            elif where == 2:
                run(guild.leave(member))
            elif state.channel is channels[where]:
                run(guild.update(member, self_mute=muted))
            else:
                run(guild.move(member, channels[where], self_mute=muted))
    if not story.watching:
        story.watch()
    story.stop()
    return story


@given(courses)
def test_true_account_is_exact(course: list[Any]) -> None:
    story = play(course)
    found = audit(story.transitions, story.told, lives=story.lives)
    assert found.faults == []
    assert found.seen + found.missed == found.sent
    assert found.seen + found.inferred + found.gaps == len(story.told)


def _flip_flag(event: dict[str, Any]) -> None:
    event["data"]["state"]["self_stream"] = True


def _change_person(event: dict[str, Any]) -> None:
    event["data"]["user"]["id"] = "999"


def _flip_inferred(event: dict[str, Any]) -> None:
    event["data"]["inferred"] = not event["data"]["inferred"]


def _change_occupants(event: dict[str, Any]) -> None:
    event["data"]["occupants"] += 1


CHANGES = [_flip_flag, _change_person, _flip_inferred, _change_occupants]


@given(courses, st.data())
def test_changed_event_is_found(course: list[Any], data: st.DataObject) -> None:
    """One event is lost, doubled, moved, or says something else; declared gaps are believed."""
    story = play(course)
    transitions = [place for place, event in enumerate(story.told) if "user" in event["data"]]
    if not transitions:
        return
    place = data.draw(st.sampled_from(transitions))
    told = copy.deepcopy(story.told)
    match data.draw(st.sampled_from(["lose", "double", "move", *range(len(CHANGES))])):
        case "lose":
            del told[place]
        case "double":
            told.insert(data.draw(st.integers(0, len(told))), told[place])
        case "move":
            event = told.pop(place)
            to = data.draw(st.integers(0, len(told)))
            told.insert(to, event)
            if to == place:
                return
        case int(number):
            CHANGES[number](told[place])
    found = audit(story.transitions, told, lives=story.lives)
    assert not found.exact
    assert found.faults
