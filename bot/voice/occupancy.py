"""Who is in which voice channel, as far as the relay knows: the memory that transitions are derived from.

discord.py keeps such a table too, but drops people in channels it does not know, keeps ghosts after an
outage, and begins empty after a restart. This one is written to disk in the same transaction as the events.
"""

from dataclasses import dataclass, field

from bot.voice.events import Channel, GapReason, Guild, User, VoiceChanges, VoiceFlags

FLAGS = ("self_mute", "self_deaf", "mute", "deaf", "self_stream", "self_video", "suppress")


@dataclass(slots=True)
class Occupant:
    """One person in one channel; ``since_ms`` is ``None`` where their arrival was not seen.

    ``flags`` has a bit for each name in ``FLAGS``, the first the lowest.
    """

    user: User
    channel_id: str
    since_ms: int | None
    flags: int


@dataclass(slots=True)
class GuildOccupancy:
    """A guild's channels and the people in them.

    ``known`` says that the guild's occupancy was seen whole at least once, in this process or an earlier
    one; ``watched`` that it is being followed now. While it is not, ``unwatched_since_ms`` is the last
    moment that it was (``None``: nobody knows) and ``gap_reason`` why it stopped. ``categories`` has the
    category of each channel that is in one.
    """

    guild: Guild
    known: bool = False
    watched: bool = False
    unwatched_since_ms: int | None = None
    gap_reason: GapReason = "restart"
    channels: dict[str, Channel] = field(default_factory=dict)
    categories: dict[str, str] = field(default_factory=dict)
    afk_channel_id: str | None = None
    occupants: dict[str, Occupant] = field(default_factory=dict)
    head_count: dict[str, int] = field(default_factory=dict)

    def put(self, occupant: Occupant) -> None:
        """Place *occupant*, out of the channel that they were in before."""
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

    def people_in(self, channel_id: str) -> int:
        return self.head_count.get(channel_id, 0)

    def channel(self, channel_id: str) -> Channel:
        """Return what is known of the channel; of one never described, its id alone."""
        return self.channels.get(channel_id) or {"id": channel_id, "name": None, "kind": "unknown"}


def unpack_flags(flags: int) -> VoiceFlags:
    """Return the bits of *flags* by name: the same dictionary each time, not to be changed."""
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


def flag_changes(before: int, after: int) -> VoiceChanges:
    """Return the flags in which *after* differs from *before*, with their values in *after*."""
    changes: VoiceChanges = {}
    difference = before ^ after
    if difference:
        for bit, name in enumerate(FLAGS):
            if difference >> bit & 1:
                changes[name] = bool(after >> bit & 1)  # type: ignore[literal-required]
    return changes
