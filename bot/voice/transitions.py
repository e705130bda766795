"""Builds the event of one transition: somebody joined, left or moved, or a flag of theirs changed."""

from bot.clock import format_ms
from bot.voice.events import Channel, Guild, User, VoiceChanges, VoiceEvent, VoiceEventType
from bot.voice.occupancy import GuildOccupancy, Occupant, unpack_flags


def build_transition(
    event_id: str,
    kind: VoiceEventType,
    guild: GuildOccupancy,
    user: User,
    now_ms: int,
    *,
    channel: Channel | None,
    previous: Channel | None,
    changes: VoiceChanges,
    duration_s: float | None,
    flags: int,
    inferred: bool,
) -> VoiceEvent:
    """Return the event; *guild* is as the transition left it, so that its occupants can be counted."""
    counted = channel or previous
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": source_of(guild.guild),
        "type": kind,
        "subject": "users/" + user["id"],
        "time": format_ms(now_ms),
        "data": {
            "guild": guild.guild,
            "user": user,
            "channel": channel,
            "previous_channel": previous,
            "changes": changes,
            "occupants": guild.people_in(counted["id"]) if counted else 0,
            "duration_s": duration_s,
            "inferred": inferred,
            "state": unpack_flags(flags),
        },
    }


def seconds_in_channel(occupant: Occupant | None, now_ms: int) -> float | None:
    """Return how long *occupant* has been there; ``None`` if unknown, as after a clock was set back."""
    if occupant is None or occupant.since_ms is None or occupant.since_ms > now_ms:
        return None
    return (now_ms - occupant.since_ms) / 1000


def source_of(guild: Guild) -> str:
    """Return the CloudEvents source of the guild's events."""
    return "/discord/guilds/" + guild["id"]
