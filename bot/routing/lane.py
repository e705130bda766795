"""Lanes: the queues in which events wait, each delivered in order and independent of the others."""

import functools
from typing import NamedTuple


class Lane(NamedTuple):
    """Events of one guild for one workflow: delivered one batch after the other, in order."""

    workflow: str
    guild_id: str


@functools.lru_cache(maxsize=10_000)
def find_lane(workflow: str, guild_id: str) -> Lane:
    """Return the lane: in a burst the same object for all its events, of which memory holds thousands."""
    return Lane(workflow, guild_id)
