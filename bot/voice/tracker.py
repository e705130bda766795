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

Nothing here does I/O. Each method returns an ``Observation``, which the outbox commits in one transaction;
the table in memory is ahead of the one on disk by what is still being committed.
"""

from collections.abc import Callable, Collection, Iterable, Mapping

from bot.voice.events import GapReason, User, VoiceEventType
from bot.voice.gaps import begin_gap, build_gap, end_gap, find_gap
from bot.voice.observation import GuildRow, Observation
from bot.voice.occupancy import GuildOccupancy, Occupant, flag_changes
from bot.voice.payloads import (
    Payload,
    parse_category_id,
    parse_channel,
    parse_flags,
    parse_id,
    parse_joined_ms,
    parse_objects,
    parse_present,
    parse_session_id,
    parse_user,
    parse_user_id,
)
from bot.voice.transitions import build_transition, seconds_in_channel


class Tracker:
    """Holds the occupancy of every guild; *guilds* is what was on disk, by guild id.

    *file_lost_ms* is when the file that is lost was last good, if one is: guilds that the bot was in by then
    are declared unwatched since. Not for use from several threads. Times are milliseconds since 1970.
    """

    def __init__(
        self,
        guilds: dict[str, GuildOccupancy],
        new_id: Callable[[int], str],
        *,
        file_lost_ms: int | None = None,
    ) -> None:
        self._guilds = guilds
        self._new_id = new_id
        self._file_lost_ms = file_lost_ms

    @property
    def guild_ids(self) -> Collection[str]:
        """The guilds that are known."""
        return self._guilds.keys()

    @property
    def watched_guilds(self) -> int:
        """How many guilds are watched now."""
        return sum(guild.watched for guild in self._guilds.values())

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

    def begin(self, is_resumed: Callable[[str], bool]) -> list[Observation]:
        """Return what to write down first: guilds whose session ends here are not watched any more.

        Without it the next process would believe that this one watched them, snapshot or not.
        """
        observations = []
        for guild_id, guild in self._guilds.items():
            if guild.watched and not is_resumed(guild_id):
                begin_gap(guild, "restart", guild.unwatched_since_ms)
                observations.append(Observation(guild_id, guild=_row(guild)))
        return observations

    def voice_state(self, payload: Payload, now_ms: int) -> Observation | None:
        """Take a VOICE_STATE_UPDATE; ``None`` where it changes nothing."""
        guild_id = parse_id(payload.get("guild_id"))
        user_id = parse_user_id(payload)
        guild = None if guild_id is None else self._guilds.get(guild_id)
        # Before its snapshot a guild is not watched: the snapshot will tell where people are.
        if guild_id is None or user_id is None or guild is None or not guild.watched:
            return None
        before = guild.occupants.get(user_id)
        user = parse_user(payload, user_id, before.user if before else None)
        channel_id = parse_id(payload.get("channel_id"))
        observation = Observation(guild_id)
        if channel_id is not None:
            occupant = Occupant(user, channel_id, now_ms, parse_flags(payload), parse_session_id(payload))
            self._arrive(observation, guild, occupant, now_ms)
        elif before is not None:
            self._depart(observation, guild, user, parse_flags(payload), now_ms)
        return observation if observation.events or observation.occupants else None

    def snapshot(self, payload: Payload, now_ms: int) -> Observation | None:
        """Take a GUILD_CREATE; ``None`` for a guild that it only announces as unavailable."""
        guild_id = parse_id(payload.get("id"))
        if guild_id is None or payload.get("unavailable") is True:
            return None
        guild = self._guild(guild_id)
        self._describe(guild, payload)
        present = parse_present(payload, guild.occupants)
        observation = Observation(guild_id)
        gap = find_gap(guild, self._new_id, now_ms, file_lost_ms=self._lost_ms(payload))
        self._infer(observation, guild, present, now_ms)
        if not guild.known:
            observation.events.clear()
        if gap is not None:
            observation.events.insert(0, gap)
        end_gap(guild)
        observation.guild = _row(guild)
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
            if written is not None:
                begin_gap(guild, written.gap_reason, written.unwatched_since_ms)
            return Observation(guild_id, guild=_row(guild))
        observation = Observation(guild_id, guild=_row(guild))
        if written is not None:
            since_ms, reason = written.unwatched_since_ms, written.gap_reason
            observation.events.append(build_gap(guild, self._new_id(now_ms), since_ms, reason, now_ms))
        self._infer(observation, guild, present, now_ms)
        if not was_known:
            observation.events.clear()
        return observation

    def unwatch(self, guild_id: str, reason: GapReason, *, since_ms: int | None) -> Observation | None:
        """Begin a gap in the guild at *since_ms*, else where the process before ended.

        The next snapshot ends it. ``None`` if the guild was not being watched.
        """
        guild = self._guilds.get(guild_id)
        if guild is None or not guild.watched:
            return None
        begin_gap(guild, reason, guild.unwatched_since_ms if since_ms is None else since_ms)
        return Observation(guild_id, guild=_row(guild))

    def forget(self, guild_id: str) -> Observation | None:
        """Drop a guild that the bot was removed from, with the people in it."""
        guild = self._guilds.pop(guild_id, None)
        return None if guild is None else Observation(guild_id, forgotten=True)

    def channel_changed(self, payload: Payload) -> Observation | None:
        """Take a CHANNEL_CREATE or CHANNEL_UPDATE; ``None`` if it changes nothing that is kept."""
        channel = parse_channel(payload)
        guild = self._guilds.get(parse_id(payload.get("guild_id")) or "")
        if channel is None or guild is None:
            return None
        category_id = parse_category_id(payload)
        channel_id = channel["id"]
        if guild.channels.get(channel_id) == channel and guild.categories.get(channel_id) == category_id:
            return None
        guild.describe(channel, category_id)
        return Observation(guild.guild["id"], guild=_row(guild))

    def channel_deleted(self, payload: Payload) -> Observation | None:
        """Take a CHANNEL_DELETE; the people in it leave by voice states of their own."""
        guild = self._guilds.get(parse_id(payload.get("guild_id")) or "")
        channel_id = parse_id(payload.get("id")) or ""
        if guild is None or channel_id not in guild.channels:
            return None
        del guild.channels[channel_id]
        # A rule about the category still holds for people who are leaving.
        if not guild.people_in(channel_id):
            guild.categories.pop(channel_id, None)
        return Observation(guild.guild["id"], guild=_row(guild))

    def guild_changed(self, payload: Payload) -> Observation | None:
        """Take a GUILD_UPDATE; ``None`` unless the guild's name or its AFK channel changed."""
        guild = self._guilds.get(parse_id(payload.get("id")) or "")
        if guild is None:
            return None
        before = guild.guild["name"], guild.afk_channel_id
        name = payload.get("name")
        if isinstance(name, str):
            guild.guild = {"id": guild.guild["id"], "name": name}
        if "afk_channel_id" in payload:
            guild.afk_channel_id = parse_id(payload["afk_channel_id"])
        if before == (guild.guild["name"], guild.afk_channel_id):
            return None
        return Observation(guild.guild["id"], guild=_row(guild))

    def _infer(
        self, observation: Observation, guild: GuildOccupancy, present: Iterable[Occupant], now_ms: int
    ) -> None:
        """Make the guild's people those who are *present*; each difference is an inferred event.

        Whose session is another than before has left and come back, perhaps to the same channel.
        """
        here = {occupant.user["id"]: occupant for occupant in present}
        for gone in [each for each in guild.occupants.values() if _has_left(each, here)]:
            self._depart(observation, guild, gone.user, gone.flags, now_ms, inferred=True)
        for user_id, occupant in here.items():
            self._arrive(observation, guild, occupant, now_ms, inferred=True)
            if occupant.since_ms is not None:
                guild.occupants[user_id].since_ms = occupant.since_ms

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

    def _describe(self, guild: GuildOccupancy, payload: Payload) -> None:
        name = payload.get("name")
        guild.guild = {"id": guild.guild["id"], "name": name if isinstance(name, str) else None}
        guild.afk_channel_id = parse_id(payload.get("afk_channel_id"))
        guild.channels, guild.categories = {}, {}
        for item in parse_objects(payload, "channels"):
            channel = parse_channel(item)
            if channel is not None:
                guild.describe(channel, parse_category_id(item))

    def _arrive(
        self,
        observation: Observation,
        guild: GuildOccupancy,
        now: Occupant,
        now_ms: int,
        *,
        inferred: bool = False,
    ) -> None:
        """Move the person to where they are *now* from wherever they were, and add the event."""
        user, channel_id, flags = now.user, now.channel_id, now.flags
        before = guild.occupants.get(user["id"])
        changes = flag_changes(before.flags, flags) if before else {}
        stayed = before is not None and before.channel_id == channel_id
        if before is not None and stayed:
            if flags == before.flags and now.session_id == before.session_id and user == before.user:
                return
            if now.since_ms is None or not inferred:
                now.since_ms = before.since_ms
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
                duration_s=None if stayed or inferred else seconds_in_channel(before, now_ms),
                flags=flags,
                inferred=inferred,
            )
        )

    def _depart(
        self,
        observation: Observation,
        guild: GuildOccupancy,
        user: User,
        flags: int,
        now_ms: int,
        *,
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
                duration_s=None if inferred else seconds_in_channel(before, now_ms),
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


def _row(guild: GuildOccupancy) -> GuildRow:
    return GuildRow(
        guild.guild["name"],
        guild.known,
        None if guild.watched else guild.unwatched_since_ms,
        None if guild.watched else guild.gap_reason,
        guild.encode_places(),
    )
