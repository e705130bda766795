"""Gaps: the stretches of time in which a guild was not watched, and the events that declare them.

    a gap begins              reason               where the time comes from         noticed in
    the process ended         restart              when its shard last heard         Tracker.begin, outbox
                                                   anything, from disk               occupancy_rows
    the session was lost      session_lost         when the shard last heard         Gateway._on_session
                                                   anything
    Discord lost the guild    guild_unavailable    when the GUILD_DELETE came        Intake.guild_deleted
    the disk took nothing     store_full           the last commit but one           outbox Writer
    another process had it    handed_over          when this one last watched        handover

A gap ends with the guild's next snapshot (``Tracker.snapshot``) or the outbox's resync (``Tracker.resync``).
Its event comes before those that the snapshot gives rise to, which are marked as inferred. Where the
beginning is unknown, ``from`` is null. It is never before the last event that was told of the guild as it
happened, nor before the end of another gap. It may be before one that was replayed, since what was missed may
have happened as early. The first snapshot of a guild declares no gap, unless the
file that would know of an earlier one is lost and the bot was in the guild by then.
"""

from collections.abc import Callable

from bot.clock import format_ms
from bot.voice.events import GapEvent, GapReason
from bot.voice.occupancy import GuildOccupancy
from bot.voice.transitions import source_of

NewId = Callable[[int], str]
"""Returns the next event id for a time in milliseconds since 1970."""


def begin_gap(guild: GuildOccupancy, reason: GapReason, since_ms: int | None) -> None:
    """Note that the guild is no longer watched, and was last watched at *since_ms*.

    Or when something of it was told, if that is later.
    """
    known = [ms for ms in (since_ms, guild.told_ms) if ms is not None]
    guild.watched = False
    guild.unwatched_since_ms = max(known, default=None)
    guild.gap_reason = reason


def find_gap(
    guild: GuildOccupancy, new_id: NewId, now_ms: int, *, file_lost_ms: int | None
) -> GapEvent | None:
    """Return the gap that a snapshot of the guild ends now, ``None`` for none.

    *file_lost_ms* is when the file that knew of the guild was last good, if it is lost.
    """
    if guild.known and not guild.watched:
        return build_gap(guild, new_id(now_ms), guild.unwatched_since_ms, guild.gap_reason, now_ms)
    if not guild.known and file_lost_ms is not None:
        return build_gap(guild, new_id(now_ms), file_lost_ms, "restart", now_ms)
    if not guild.known and guild.gap_reason == "handed_over":
        return build_gap(guild, new_id(now_ms), guild.unwatched_since_ms, guild.gap_reason, now_ms)
    return None


def end_gap(guild: GuildOccupancy) -> None:
    """Note that the guild is known, and watched from now on."""
    guild.known = guild.watched = True
    guild.unwatched_since_ms = None


def build_gap(
    guild: GuildOccupancy, event_id: str, since_ms: int | None, reason: GapReason, now_ms: int
) -> GapEvent:
    """Return the event that declares a gap from *since_ms* until now."""
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": source_of(guild.guild),
        "type": "discord.voice.gap",
        "time": format_ms(now_ms),
        "data": {
            "guild": guild.guild,
            "from": None if since_ms is None else format_ms(min(since_ms, now_ms)),
            "until": format_ms(now_ms),
            "reason": reason,
        },
    }
