"""What a frame changed, as data: the events it gave rise to and the rows it left behind."""

from dataclasses import dataclass, field
from typing import NamedTuple

from bot.voice.events import Event, GapReason
from bot.voice.occupancy import GuildOccupancy, Occupant


class GuildRow(NamedTuple):
    """What is kept of a guild itself, as it was at one moment; ``places`` are its channels, as JSON.

    While it is watched, ``gap_reason`` is ``None``, and ``unwatched_since_ms`` the earliest that a gap may
    begin, if that is known.
    """

    name: str | None
    known: bool
    unwatched_since_ms: int | None
    gap_reason: GapReason | None
    places: str | None = None


def describe_row(guild: GuildOccupancy) -> GuildRow:
    """Return the guild's row as it is now."""
    return GuildRow(
        guild.guild["name"],
        guild.known,
        guild.told_ms if guild.watched else guild.unwatched_since_ms,
        None if guild.watched else guild.gap_reason,
        guild.encode_places(),
    )


@dataclass(slots=True)
class Observation:
    """What one frame changed: events to deliver and rows to write, all in one transaction.

    ``occupants`` has an entry for each person whose row changed, ``None`` for those who are gone. ``guild``
    is the guild's own row where that changed; ``forgotten`` asks for all its rows to go. ``seen_ms`` is when
    the frame was taken, if it was no replay: until then, at least, its shard was watching.
    ``quiet_gap`` says of the gap that it declares that nothing was found changed.
    """

    guild_id: str
    events: list[Event] = field(default_factory=list)
    occupants: dict[str, Occupant | None] = field(default_factory=dict)
    guild: GuildRow | None = None
    forgotten: bool = False
    seen_ms: int | None = None
    quiet_gap: bool = False

    @property
    def begins_gap(self) -> bool:
        """Whether it says that the guild is unwatched, and nothing else."""
        unwatched = self.guild is not None and self.guild.gap_reason is not None
        return unwatched and not self.events and not self.occupants
