"""Guilds that move between processes, each of which runs some of the bot's shards and has a file of its own.

A process knows what it watched itself, and of the others nothing. So each says of its own watching what is
true, as gaps with the reason ``handed_over``: this process did not watch then, another one may have.

    a process finds                                   it says                        and then
    another's guild in its file, at its start         a gap since it last watched    forgets the guild
    its own guild, last watched over a day ago        a gap since then               learns it in silence
    its own guild, last watched since                 as after any restart           infers what happened
    a guild that its file lacks, and should not       a gap without a beginning      learns it, in silence

Another's guilds, and files out of date, are for processes with SHARD_IDS only. A file should know the guilds
that the bot was in while the file was in use; with SHARD_IDS, also those that it was in before.

The guild was not watched at all where the gaps of all processes overlap. What a process inferred from a file
that is weeks old would be told a second time, and wrong: another process may have seen it all. It is a day,
because no deployment takes longer, and no events wait longer by default.
"""

from collections.abc import Callable
from typing import Final

from bot.voice.events import GapReason
from bot.voice.gaps import NewId, begin_gap, build_gap
from bot.voice.observation import Observation, describe_row
from bot.voice.occupancy import GuildOccupancy, Occupant

HANDED_OVER: Final[GapReason] = "handed_over"
STALE_MS: Final = 24 * 3600 * 1000


def begin_watch(
    guilds: dict[str, GuildOccupancy],
    is_resumed: Callable[[str], bool],
    covers: Callable[[str], bool] | None,
    new_id: NewId,
    now_ms: int,
) -> list[Observation]:
    """Take *guilds* over from the process before, and return what is written down of that.

    Those that this one does not cover are taken out; the others are unwatched unless their session goes on.
    """
    observations = []
    for guild_id, guild in list(guilds.items()):
        if covers is not None and not covers(guild_id):
            observations.append(_give_away(guilds.pop(guild_id), new_id, now_ms))
        elif covers is not None and not is_resumed(guild_id) and _is_stale(guild, now_ms):
            observations.append(_begin_anew(guild))
        elif guild.watched and not is_resumed(guild_id):
            begin_gap(guild, "restart", guild.unwatched_since_ms)
            observations.append(Observation(guild_id, guild=describe_row(guild)))
    return observations


def find_other_until(guilds: dict[str, GuildOccupancy]) -> int | None:
    """Return until when guilds that are not among these can only have been another process's."""
    ends = (guild.unwatched_since_ms for guild in guilds.values())
    return max((end_ms for end_ms in ends if end_ms is not None), default=None)


def take_over(guild: GuildOccupancy, joined_ms: int, other_until_ms: int) -> None:
    """Note that another process may have watched the guild, if it is new here and was not to the bot then."""
    is_new = not guild.known and guild.gap_reason != HANDED_OVER
    if is_new and joined_ms <= other_until_ms:
        begin_gap(guild, HANDED_OVER, None)


def _give_away(guild: GuildOccupancy, new_id: NewId, now_ms: int) -> Observation:
    observation = Observation(guild.guild["id"], forgotten=True)
    if guild.known or guild.gap_reason == HANDED_OVER:
        gap = build_gap(guild, new_id(now_ms), guild.unwatched_since_ms, HANDED_OVER, now_ms)
        observation.events.append(gap)
    return observation


def _is_stale(guild: GuildOccupancy, now_ms: int) -> bool:
    since_ms = guild.unwatched_since_ms
    return guild.known and since_ms is not None and now_ms - since_ms > STALE_MS


def _begin_anew(guild: GuildOccupancy) -> Observation:
    """Forget who was in the guild, but not since when it is unwatched."""
    gone: dict[str, Occupant | None] = dict.fromkeys(guild.occupants)
    guild.empty()
    guild.known = False
    begin_gap(guild, HANDED_OVER, guild.unwatched_since_ms)
    return Observation(guild.guild["id"], occupants=gone, guild=describe_row(guild))
