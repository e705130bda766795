"""Lanes: the queues in which events wait, each delivered in order and independent of the others."""

from typing import NamedTuple


class Lane(NamedTuple):
    """Events of one guild for one workflow: delivered one batch after the other, in order."""

    workflow: str
    guild_id: str
