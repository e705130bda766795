"""Moves people in the occupancy table, and adds the event of each move to the observation of its frame."""

from collections.abc import Iterable, Mapping

from bot.voice.events import User, VoiceEventType
from bot.voice.gaps import NewId
from bot.voice.observation import Observation
from bot.voice.occupancy import GuildOccupancy, Occupant, flag_changes
from bot.voice.transitions import build_transition, seconds_in_channel


class Moves:
    """Makes the moves; *new_id* gives the ids of their events."""

    def __init__(self, new_id: NewId) -> None:
        self._new_id = new_id

    def infer(
        self, observation: Observation, guild: GuildOccupancy, present: Iterable[Occupant], now_ms: int
    ) -> None:
        """Make the guild's people those who are *present*; each difference is an inferred event.

        Whose session is another than before has left and come back, perhaps to the same channel. Since when
        they are where they are now is for *present* to say.
        """
        here = {occupant.user["id"]: occupant for occupant in present}
        for gone in [each for each in guild.occupants.values() if _has_left(each, here)]:
            self.depart(observation, guild, gone.user, gone.flags, now_ms, inferred=True)
        for occupant in here.values():
            self.arrive(observation, guild, occupant, now_ms, inferred=True)

    def arrive(
        self,
        observation: Observation,
        guild: GuildOccupancy,
        now: Occupant,
        now_ms: int,
        *,
        timed: bool = True,
        inferred: bool = False,
    ) -> None:
        """Move the person to where they are *now* from wherever they were, and add the event.

        It is *timed* if it happens at *now_ms*.
        """
        user, channel_id, flags = now.user, now.channel_id, now.flags
        before = guild.occupants.get(user["id"])
        changes = flag_changes(before.flags, flags) if before else {}
        stayed = before is not None and before.channel_id == channel_id
        if before is not None and stayed:
            if not inferred:
                now.since_ms = before.since_ms
            if now == before:
                return
        guild.put(now)
        observation.occupants[user["id"]] = now
        if stayed and not changes:
            return
        kind: VoiceEventType = "discord.voice.joined"
        if before is not None:
            kind = "discord.voice.updated" if stayed else "discord.voice.moved"
        observation.events.append(
            build_transition(
                self._new_id(now_ms),
                kind,
                guild,
                user,
                now_ms,
                channel=guild.channel(channel_id),
                previous=guild.channel(before.channel_id) if before and not stayed else None,
                changes=changes,
                duration_s=None if stayed or inferred or not timed else seconds_in_channel(before, now_ms),
                flags=flags,
                inferred=inferred,
            )
        )

    def depart(
        self,
        observation: Observation,
        guild: GuildOccupancy,
        user: User,
        flags: int,
        now_ms: int,
        *,
        timed: bool = True,
        inferred: bool = False,
    ) -> None:
        """Take *user* out of voice, and add the event."""
        before = guild.occupants.get(user["id"])
        if before is not None:
            guild.remove(user["id"])
            observation.occupants[user["id"]] = None
        observation.events.append(
            build_transition(
                self._new_id(now_ms),
                "discord.voice.left",
                guild,
                user,
                now_ms,
                channel=None,
                previous=guild.channel(before.channel_id) if before else None,
                changes={},
                duration_s=None if inferred or not timed else seconds_in_channel(before, now_ms),
                flags=flags,
                inferred=inferred,
            )
        )


def _has_left(was: Occupant, here: Mapping[str, Occupant]) -> bool:
    """Say whether the person has left, going by who is *here* now, and may have come back."""
    now = here.get(was.user["id"])
    if now is None:
        return True
    return bool(was.session_id and now.session_id) and was.session_id != now.session_id
