"""A tracker for the tests of this folder."""

import pytest

from bot.ulid import UlidFactory
from bot.voice.tracker import Tracker
from tests.support.frames import T0, guild_create


@pytest.fixture
def tracker() -> Tracker:
    """A tracker that has seen the guild, with nobody in voice."""
    tracker = Tracker({}, UlidFactory())
    tracker.snapshot(guild_create({}), T0)
    return tracker
