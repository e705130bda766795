"""Who is in which voice channel: the occupancy table that transitions are derived from.

discord.py keeps such a table too, but drops people in unknown channels, keeps ghosts after an outage, and
starts empty after a restart. This one is written to disk in the same transaction as the events.
"""

import functools
from dataclasses import dataclass, field

import orjson

from bot.voice.events import Channel, GapReason, Guild, User, VoiceChanges, VoiceFlags

FLAGS = ("self_mute", "self_deaf", "mute", "deaf", "self_stream", "self_video", "suppress")


@dataclass(slots=True)
class Occupant:
    """One person in one channel; ``since_ms`` is ``None`` if the arrival was not seen.

    ``flags`` has a bit for each name in ``FLAGS``, the first the lowest. ``session_id`` is another when they
    have left and come back; ``None`` if unknown.
    """

    user: User
    channel_id: str
    since_ms: int | None
    flags: int
    session_id: str | None = None


@dataclass(slots=True)
class GuildOccupancy:
    """A guild's channels and the people in them.

    ``known``: a snapshot was seen at least once, in this process or an earlier one. ``watched``: the guild
    is being followed now. While it is not, ``unwatched_since_ms`` is when it last was (``None`` if unknown)
    and ``gap_reason`` why that ended. ``told_ms`` is when something of it was last told as it happened, or
    a gap ended: no gap reaches back before that. ``categories`` has the category of each channel that is in
    one.
    """

    guild: Guild
    known: bool = False
    watched: bool = False
    unwatched_since_ms: int | None = None
    gap_reason: GapReason = "restart"
    told_ms: int | None = None
    channels: dict[str, Channel] = field(default_factory=dict)
    categories: dict[str, str] = field(default_factory=dict)
    afk_channel_id: str | None = None
    occupants: dict[str, Occupant] = field(default_factory=dict)
    head_count: dict[str, int] = field(default_factory=dict)

    def put(self, occupant: Occupant) -> None:
        """Put *occupant* into their channel, out of the one before."""
        self.remove(occupant.user["id"])
        self.occupants[occupant.user["id"]] = occupant
        self.head_count[occupant.channel_id] = self.head_count.get(occupant.channel_id, 0) + 1

    def remove(self, user_id: str) -> None:
        """Take the person out, if they are in."""
        gone = self.occupants.pop(user_id, None)
        if gone is None:
            return
        left = self.head_count[gone.channel_id] - 1
        if left:
            self.head_count[gone.channel_id] = left
        else:
            del self.head_count[gone.channel_id]

    def empty(self) -> None:
        """Take everybody out."""
        self.occupants.clear()
        self.head_count.clear()

    def describe(self, channel: Channel, category_id: str | None) -> None:
        """Take *channel* as it is now."""
        self.channels[channel["id"]] = channel
        if category_id is None:
            self.categories.pop(channel["id"], None)
        else:
            self.categories[channel["id"]] = category_id

    def encode_places(self) -> str:
        """Return as JSON what a snapshot says of the channels; ``decode_places`` takes it back."""
        return orjson.dumps([self.channels, self.categories, self.afk_channel_id]).decode()

    def decode_places(self, places: str) -> None:
        self.channels, self.categories, self.afk_channel_id = orjson.loads(places)

    def people_in(self, channel_id: str) -> int:
        return self.head_count.get(channel_id, 0)

    def channel(self, channel_id: str) -> Channel:
        """Return the channel; of one that was never described, only the id."""
        return self.channels.get(channel_id) or {"id": channel_id, "name": None, "kind": "unknown"}


def unpack_flags(flags: int) -> VoiceFlags:
    """Return the bits of *flags* by name: a shared dictionary, not to be changed."""
    return _UNPACKED[flags]


def _unpack(flags: int) -> VoiceFlags:
    return {
        "self_mute": flags & 1 != 0,
        "self_deaf": flags & 2 != 0,
        "mute": flags & 4 != 0,
        "deaf": flags & 8 != 0,
        "self_stream": flags & 16 != 0,
        "self_video": flags & 32 != 0,
        "suppress": flags & 64 != 0,
    }


_UNPACKED = tuple(_unpack(flags) for flags in range(1 << len(FLAGS)))


@functools.cache
def flag_changes(before: int, after: int) -> VoiceChanges:
    """Return the flags in which *after* differs from *before*, with their values in *after*.

    A shared dictionary, not to be changed.
    """
    changes: VoiceChanges = {}
    for bit, name in enumerate(FLAGS):
        if (before ^ after) >> bit & 1:
            changes[name] = bool(after >> bit & 1)  # type: ignore[literal-required]
    return changes
