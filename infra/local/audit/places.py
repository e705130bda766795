"""Who is where, after each transition, and what must have happened between two moments."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from infra.local.audit.facts import Fact, build_changes, name_flags
from infra.local.discord import Transition


class Seat(NamedTuple):
    """Where somebody is, which of their flags are on, and how often they have come to voice."""

    channel_id: str
    flags: frozenset[str]
    visit: int


Places = Mapping[str, Seat]
"""Who is in voice, by user id."""


def trace(transitions: Iterable[Transition]) -> Iterator[Places]:
    """Yield the places before the first transition, when nobody was in voice, and after each."""
    places: dict[str, Seat] = {}
    visits: Counter[str] = Counter()
    yield places
    for transition in transitions:
        places = dict(places)
        if transition.channel_id is None:
            places.pop(transition.user_id, None)
        else:
            visits[transition.user_id] += transition.kind == "joined"
            visit = visits[transition.user_id]
            places[transition.user_id] = Seat(transition.channel_id, name_flags(transition.flags), visit)
        yield places


def infer(guild_id: str, before: Places, after: Places) -> Iterator[Fact]:
    """Yield what must have happened to each person between two moments, if anything."""
    for user_id in before.keys() | after.keys():
        was, now = before.get(user_id), after.get(user_id)
        if was is not None and now is not None and was.visit != now.visit:
            # Not one long stay: they have left and come back.
            yield _infer_one(guild_id, user_id, was, None).as_inferred()
            was = None
        if was != now:
            yield _infer_one(guild_id, user_id, was, now).as_inferred()


def _infer_one(guild_id: str, user_id: str, was: Seat | None, now: Seat | None) -> Fact:
    if now is None:
        assert was is not None  # noqa: S101  # the two differ
        return Fact("left", guild_id, user_id, None, was.channel_id, (), was.flags)
    if was is None:
        return Fact("joined", guild_id, user_id, now.channel_id, None, (), now.flags)
    changes = build_changes({name: name in now.flags for name in was.flags ^ now.flags})
    if was.channel_id == now.channel_id:
        return Fact("updated", guild_id, user_id, now.channel_id, None, changes, now.flags)
    return Fact("moved", guild_id, user_id, now.channel_id, was.channel_id, changes, now.flags)
