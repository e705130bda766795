"""From raw payloads to transitions: compares each with the occupancy table, and updates the table.

A VOICE_STATE_UPDATE says where a person is now, but neither where they were nor when it happened. The
difference from the occupancy table, taken in the order of the frames, is the event:

    before       now          event
    nowhere      channel      joined
    channel      nowhere      left
    channel      another      moved
    channel      the same     updated, if a flag differs; else nothing

A GUILD_CREATE is a snapshot. The first of a guild is learned in silence. A later one ends a gap: it gives a
gap event, then an inferred event for each difference from the table.

A duration is told only where both ends of the stay were seen when they happened. What is replayed to a
resumed session, and what a snapshot shows, happened at some earlier time: a stay that begins or ends so has
no duration.

Nothing here does I/O. Each method returns an ``Observation``, which the outbox commits in one transaction;
the table in memory is ahead of the one on disk by what is still being committed.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from bot.voice.events import GapReason
from bot.voice.gaps import begin_gap, build_gap, end_gap, find_gap
from bot.voice.handover import begin_watch, find_other_until, take_over
from bot.voice.moves import Moves
from bot.voice.observation import Observation, describe_row
from bot.voice.occupancy import GuildOccupancy, Occupant
from bot.voice.payloads import (
    UNKNOWN_USER,
    Payload,
    UnreadableError,
    parse_flags,
    parse_id,
    parse_joined_ms,
    parse_place,
    parse_present,
    parse_session_id,
    parse_user,
    parse_user_id,
)
from bot.voice.places import change_channel, change_guild, delete_channel, describe_guild

OnSkipped = Callable[[str, Sequence[str]], object]


class Tracker:
    """Holds the occupancy of every guild; *guilds* is what was on disk, by guild id.

    *file_lost_ms* is when the file that is lost was last good, if one is: guilds that the bot was in by then
    are declared unwatched since. *on_skipped* takes a guild, and names what a payload of it has in an unknown
    shape. Not for use from several threads. Times are milliseconds since 1970.
    """

    def __init__(
        self,
        guilds: dict[str, GuildOccupancy],
        new_id: Callable[[int], str],
        *,
        file_lost_ms: int | None = None,
        on_skipped: OnSkipped = lambda *_: None,
    ) -> None:
        self._guilds = guilds
        self._new_id = new_id
        self._moves = Moves(new_id)
        self._file_lost_ms = file_lost_ms
        self._on_skipped = on_skipped
        self._other_until_ms: int | None = None

    @property
    def guild_ids(self) -> Collection[str]:
        """The guilds that are known."""
        return self._guilds.keys()

    @property
    def watched_guilds(self) -> int:
        """How many guilds are watched now."""
        return sum(guild.watched for guild in self._guilds.values())

    def is_watched(self, guild_id: str) -> bool:
        """Tell whether the guild is watched; one that is not even known counts as watched."""
        guild = self._guilds.get(guild_id)
        return guild is None or guild.watched

    def find_watched(self, guild_id: str) -> GuildOccupancy | None:
        """Return the guild's occupancy, to read; ``None`` unless it is watched now."""
        guild = self._guilds.get(guild_id)
        return guild if guild is not None and guild.watched else None

    def people_in(self, guild_id: str, channel_id: str) -> int:
        """Return how many people are in the channel now."""
        guild = self._guilds.get(guild_id)
        return 0 if guild is None else guild.people_in(channel_id)

    def places(self, guild_id: str) -> tuple[Mapping[str, str], str | None]:
        """Return the category of each of the guild's channels that is in one, and its AFK channel.

        The mapping is the tracker's own: it changes with the next frame.
        """
        guild = self._guilds.get(guild_id)
        return ({}, None) if guild is None else (guild.categories, guild.afk_channel_id)

    def begin(
        self, is_resumed: Callable[[str], bool], covers: Callable[[str], bool] | None, now_ms: int
    ) -> list[Observation]:
        """Return what to write down first: guilds whose session ends here are not watched any more.

        Without it the next process would believe that this one watched them, snapshot or not. *covers* says
        which guilds are this process's, ``None`` if all are: see ``bot.voice.handover``.
        """
        self._other_until_ms = find_other_until(self._guilds) if covers is None else now_ms
        return begin_watch(self._guilds, is_resumed, covers, self._new_id, now_ms)

    def voice_state(self, payload: Payload, now_ms: int, *, replayed: bool = False) -> Observation | None:
        """Take a VOICE_STATE_UPDATE; ``None`` where it says nothing new.

        One that is *replayed* happened before *now_ms*, when is unknown.
        """
        guild_id = parse_id(payload.get("guild_id"))
        guild = None if guild_id is None else self._guilds.get(guild_id)
        # Before its snapshot a guild is not watched: the snapshot will tell where people are.
        if guild_id is None or guild is None or not guild.watched:
            return None
        user_id = parse_user_id(payload)
        try:
            channel_id = parse_place(payload, user_id)
            if user_id is None:
                raise UnreadableError(UNKNOWN_USER)
        except UnreadableError as error:
            self._on_skipped(guild_id, [str(error)])
            return None
        before = guild.occupants.get(user_id)
        user = parse_user(payload, user_id, before.user if before else None)
        observation = Observation(guild_id)
        if channel_id is not None:
            since_ms = None if replayed else now_ms
            occupant = Occupant(user, channel_id, since_ms, parse_flags(payload), parse_session_id(payload))
            self._moves.arrive(observation, guild, occupant, now_ms, timed=not replayed)
        elif before is not None:
            self._moves.depart(observation, guild, user, parse_flags(payload), now_ms, timed=not replayed)
        if not (observation.events or observation.occupants):
            return None
        if not replayed:
            observation.seen_ms = guild.told_ms = now_ms
        return observation

    def snapshot(self, payload: Payload, now_ms: int) -> Observation | None:
        """Take a GUILD_CREATE; ``None`` for a guild that it only announces as unavailable."""
        guild_id = parse_id(payload.get("id"))
        if guild_id is None or payload.get("unavailable") is True:
            return None
        guild = self._guild(guild_id)
        skipped: list[str] = []
        describe_guild(guild, payload, skipped)
        present = parse_present(payload, guild.occupants, skipped)
        if skipped:
            self._on_skipped(guild_id, skipped)
        observation = Observation(guild_id)
        joined_ms = parse_joined_ms(payload)
        if self._other_until_ms is not None and joined_ms is not None:
            take_over(guild, joined_ms, self._other_until_ms)
        gap = find_gap(guild, self._new_id, now_ms, file_lost_ms=self._lost_ms(payload))
        self._moves.infer(observation, guild, present, now_ms)
        observation.quiet_gap = guild.known and not observation.events
        if not guild.known:
            observation.events.clear()
        if gap is not None:
            observation.events.insert(0, gap)
        end_gap(guild)
        if observation.events:
            guild.told_ms = now_ms
        observation.guild = describe_row(guild)
        return observation

    def resync(self, on_disk: Mapping[str, GuildOccupancy | None], now_ms: int) -> list[Observation]:
        """Make up for the observations that were let go, while the disk took nothing.

        *on_disk* is what was last written of each guild concerned, with since when it is unwatched and why;
        ``None`` for nothing. The difference from what is known now is declared as after any other gap.
        """
        return [self._resync(guild_id, written, now_ms) for guild_id, written in on_disk.items()]

    def _resync(self, guild_id: str, written: GuildOccupancy | None, now_ms: int) -> Observation:
        guild = self._guilds.get(guild_id)
        if guild is None:
            return Observation(guild_id, forgotten=True)
        was_known = written is not None and written.known
        present = list(guild.occupants.values())
        guild.empty()
        for occupant in written.occupants.values() if written else ():
            guild.put(occupant)
        if not guild.watched:
            # The next snapshot tells, from the same beginning.
            guild.known = was_known
            # What was told last is on disk; what is told in memory may have been let go.
            guild.told_ms = None
            if written is not None:
                begin_gap(guild, written.gap_reason, written.unwatched_since_ms)
            return Observation(guild_id, guild=describe_row(guild))
        guild.told_ms = now_ms
        observation = Observation(guild_id, guild=describe_row(guild))
        if written is not None:
            since_ms, reason = written.unwatched_since_ms, written.gap_reason
            observation.events.append(build_gap(guild, self._new_id(now_ms), since_ms, reason, now_ms))
        self._moves.infer(observation, guild, present, now_ms)
        if not was_known:
            observation.events.clear()
        return observation

    def forget_arrivals(self) -> list[Observation]:
        """Note that it is not known any more since when people are where they are: the clock was set."""
        observations = []
        for guild_id, guild in self._guilds.items():
            timed = {user: one for user, one in guild.occupants.items() if one.since_ms is not None}
            for occupant in timed.values():
                occupant.since_ms = None
            if timed:
                observations.append(Observation(guild_id, occupants=dict(timed)))
        return observations

    def unwatch(self, guild_id: str, reason: GapReason, *, since_ms: int | None) -> Observation | None:
        """Begin a gap in the guild at *since_ms*, else where the process before ended.

        The next snapshot ends it. ``None`` if the guild was not being watched.
        """
        guild = self._guilds.get(guild_id)
        if guild is None or not guild.watched:
            return None
        begin_gap(guild, reason, guild.unwatched_since_ms if since_ms is None else since_ms)
        return Observation(guild_id, guild=describe_row(guild))

    def forget(self, guild_id: str) -> Observation | None:
        """Drop a guild that the bot was removed from, with the people in it."""
        guild = self._guilds.pop(guild_id, None)
        return None if guild is None else Observation(guild_id, forgotten=True)

    def channel_changed(self, payload: Payload) -> Observation | None:
        """Take a CHANNEL_CREATE or CHANNEL_UPDATE; ``None`` if it changes nothing that is kept."""
        return self._change(payload, "guild_id", change_channel)

    def channel_deleted(self, payload: Payload) -> Observation | None:
        """Take a CHANNEL_DELETE; the people in it leave by voice states of their own."""
        return self._change(payload, "guild_id", delete_channel)

    def guild_changed(self, payload: Payload) -> Observation | None:
        """Take a GUILD_UPDATE; ``None`` unless the guild's name or its AFK channel changed."""
        return self._change(payload, "id", change_guild)

    def _change(
        self, payload: Payload, id_key: str, change: Callable[[GuildOccupancy, Payload], bool]
    ) -> Observation | None:
        guild = self._guilds.get(parse_id(payload.get(id_key)) or "")
        if guild is None:
            return None
        try:
            changed = change(guild, payload)
        except UnreadableError as error:
            self._on_skipped(guild.guild["id"], [str(error)])
            return None
        return Observation(guild.guild["id"], guild=describe_row(guild)) if changed else None

    def _lost_ms(self, payload: Payload) -> int | None:
        """Return since when the guild of a GUILD_CREATE is unwatched, should nothing be known of it."""
        joined_ms = parse_joined_ms(payload)
        if self._file_lost_ms is None or (joined_ms is not None and joined_ms > self._file_lost_ms):
            return None
        return self._file_lost_ms

    def _guild(self, guild_id: str) -> GuildOccupancy:
        guild = self._guilds.get(guild_id)
        if guild is None:
            guild = self._guilds[guild_id] = GuildOccupancy({"id": guild_id, "name": None})
        return guild
