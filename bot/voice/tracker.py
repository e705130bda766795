"""From raw payloads to transitions: what happened, as events, and what the occupancy table has become.

A VOICE_STATE_UPDATE says where a person is now, and neither where they were nor when it happened. So each one
is compared, in the order of the frames, with the occupancy table, and the difference is the event:

    before       now          event
    nowhere      channel      joined
    channel      nowhere      left
    channel      another      moved
    channel      the same     updated, if a flag differs; else nothing

A GUILD_CREATE is a snapshot. The first of a guild is learned in silence. A later one ends a stretch in which
nobody was watching: it gives a gap event, then an inferred event for each difference from the table.

Nothing here does I/O. Each method returns an ``Observation``, which the outbox commits in one transaction;
the table in memory is ahead of the one on disk by what is still being committed.
"""

from collections.abc import Callable, Collection, Iterable, Mapping

from bot.clock import format_ms
from bot.voice.events import (
    Channel,
    GapEvent,
    GapReason,
    Guild,
    User,
    VoiceChanges,
    VoiceEvent,
    VoiceEventType,
)
from bot.voice.observation import GuildRow, Observation
from bot.voice.occupancy import GuildOccupancy, Occupant, flag_changes, unpack_flags
from bot.voice.payloads import (
    Payload,
    parse_category_id,
    parse_channel,
    parse_flags,
    parse_id,
    parse_objects,
    parse_user,
    parse_user_id,
)


class Capture:
    """Holds the occupancy of every guild; *guilds* is what was on disk, by guild id.

    *lost_ms* says that what was on disk is lost, and when it was last written: guilds met for the first time
    are declared unwatched since. Not for use from several threads. Times are milliseconds since 1970.
    """

    def __init__(
        self, guilds: dict[str, GuildOccupancy], new_id: Callable[[int], str], *, lost_ms: int | None = None
    ) -> None:
        self._guilds = guilds
        self._new_id = new_id
        self._lost_ms = lost_ms

    @property
    def guild_ids(self) -> Collection[str]:
        """The guilds that anything is known of."""
        return self._guilds.keys()

    @property
    def watched_guilds(self) -> int:
        """How many guilds' voice channels are seen into now."""
        return sum(guild.watched for guild in self._guilds.values())

    def people_in(self, guild_id: str, channel_id: str) -> int:
        """Return how many people are in the channel now."""
        guild = self._guilds.get(guild_id)
        return 0 if guild is None else guild.people_in(channel_id)

    def places(self, guild_id: str) -> tuple[Mapping[str, str], str | None]:
        """Return the category of each of the guild's channels that is in one, and its AFK channel.

        The mapping is the capture's own: it changes with the next frame.
        """
        guild = self._guilds.get(guild_id)
        return ({}, None) if guild is None else (guild.categories, guild.afk_channel_id)

    def begin(self) -> list[Observation]:
        """Return what to write down first: nobody watches the guilds until their snapshots come.

        Without it the next process would take this one's watching for theirs, snapshot or not.
        """
        return [
            Observation(guild_id, guild=_row(guild))
            for guild_id, guild in self._guilds.items()
            if not guild.watched
        ]

    def voice_state(self, payload: Payload, now_ms: int) -> Observation | None:
        """Take a VOICE_STATE_UPDATE; ``None`` where it changes nothing that the relay knows of."""
        guild_id = parse_id(payload.get("guild_id"))
        user_id = parse_user_id(payload)
        if guild_id is None or user_id is None:
            return None
        guild = self._guild(guild_id)
        before = guild.occupants.get(user_id)
        user = parse_user(payload, user_id, before.user if before else None)
        channel_id = parse_id(payload.get("channel_id"))
        observation = Observation(guild_id)
        if channel_id is not None:
            self._arrive(observation, guild, user, channel_id, parse_flags(payload), now_ms)
        elif before is not None or not guild.watched:
            # Somebody unknown can leave only where the snapshot is still to come.
            self._depart(observation, guild, user, parse_flags(payload), now_ms)
        return observation if observation.events or observation.occupants else None

    def snapshot(self, payload: Payload, now_ms: int) -> Observation | None:
        """Take a GUILD_CREATE; ``None`` for a guild that it only announces as unavailable."""
        guild_id = parse_id(payload.get("id"))
        if guild_id is None or payload.get("unavailable") is True:
            return None
        guild = self._guild(guild_id)
        self._describe(guild, payload)
        present = _present(payload, guild)
        observation = Observation(guild_id)
        if guild.known and not guild.watched:
            gap = [self._gap(guild, guild.unwatched_since_ms, guild.gap_reason, now_ms)]
        elif not guild.known and self._lost_ms is not None:
            gap = [self._gap(guild, self._lost_ms, "restart", now_ms)]
        else:
            gap = []
        observation.events.extend(gap)
        self._infer(observation, guild, present, now_ms)
        if not guild.known:
            del observation.events[len(gap) :]
        guild.known = guild.watched = True
        guild.unwatched_since_ms = None
        observation.guild = _row(guild)
        return observation

    def resync(
        self, on_disk: Mapping[str, GuildOccupancy | None], since_ms: int, now_ms: int
    ) -> list[Observation]:
        """Make up for what was let go since *since_ms*, when the disk would not take it.

        *on_disk* is what was last written of each guild concerned, ``None`` where that is nothing. The
        difference to what is known now is declared as after any other stretch that nobody watched.
        """
        observations = []
        for guild_id, written in on_disk.items():
            guild = self._guilds.get(guild_id)
            if guild is None:
                observations.append(Observation(guild_id, forgotten=True))
                continue
            present = list(guild.occupants.values())
            observation = Observation(guild_id, guild=_row(guild))
            guild.empty()
            for occupant in written.occupants.values() if written else ():
                guild.put(occupant)
            inferred = written is not None and written.known
            if inferred:
                observation.events.append(self._gap(guild, since_ms, "store_full", now_ms))
            self._infer(observation, guild, present, now_ms)
            if not inferred:
                observation.events.clear()
            observations.append(observation)
        return observations

    def unwatch(self, guild_id: str, reason: GapReason, *, since_ms: int | None) -> Observation | None:
        """Note that the guild was last watched at *since_ms*; ``None`` if it was not being watched.

        The next snapshot ends the stretch and declares it.
        """
        guild = self._guilds.get(guild_id)
        if guild is None or not guild.watched:
            return None
        guild.watched = False
        guild.unwatched_since_ms = since_ms
        guild.gap_reason = reason
        return Observation(guild_id, guild=_row(guild))

    def forget(self, guild_id: str) -> Observation | None:
        """Drop a guild that the bot was removed from, and who was in it."""
        guild = self._guilds.pop(guild_id, None)
        return None if guild is None else Observation(guild_id, forgotten=True)

    def channel_changed(self, payload: Payload) -> None:
        """Take a CHANNEL_CREATE or CHANNEL_UPDATE."""
        channel = parse_channel(payload)
        guild = self._guilds.get(parse_id(payload.get("guild_id")) or "")
        if channel is not None and guild is not None:
            guild.describe(channel, parse_category_id(payload))

    def channel_deleted(self, payload: Payload) -> None:
        """Take a CHANNEL_DELETE; whoever was in it leaves by a voice state of their own."""
        guild = self._guilds.get(parse_id(payload.get("guild_id")) or "")
        channel_id = parse_id(payload.get("id")) or ""
        if guild is not None:
            guild.channels.pop(channel_id, None)
            # A rule about the category is to hold for those leaves too.
            if not guild.people_in(channel_id):
                guild.categories.pop(channel_id, None)

    def guild_changed(self, payload: Payload) -> Observation | None:
        """Take a GUILD_UPDATE; ``None`` unless the guild's name is another now."""
        guild = self._guilds.get(parse_id(payload.get("id")) or "")
        name = payload.get("name")
        if guild is not None and "afk_channel_id" in payload:
            guild.afk_channel_id = parse_id(payload["afk_channel_id"])
        if guild is None or not isinstance(name, str) or guild.guild["name"] == name:
            return None
        guild.guild = {"id": guild.guild["id"], "name": name}
        return Observation(guild.guild["id"], guild=_row(guild))

    def _infer(
        self, observation: Observation, guild: GuildOccupancy, present: Iterable[Occupant], now_ms: int
    ) -> None:
        """Bring the guild to those who are *present*; each difference is an inferred event."""
        here = {occupant.user["id"]: occupant for occupant in present}
        for user_id in [user_id for user_id in guild.occupants if user_id not in here]:
            gone = guild.occupants[user_id]
            self._depart(observation, guild, gone.user, gone.flags, now_ms, inferred=True)
        for user_id, occupant in here.items():
            self._arrive(
                observation, guild, occupant.user, occupant.channel_id, occupant.flags, now_ms, inferred=True
            )
            if occupant.since_ms is not None:
                guild.occupants[user_id].since_ms = occupant.since_ms

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
        user: User,
        channel_id: str,
        flags: int,
        now_ms: int,
        *,
        inferred: bool = False,
    ) -> None:
        """Place *user* in a channel, wherever they were, and add the event that this is."""
        before = guild.occupants.get(user["id"])
        changes = flag_changes(before.flags, flags) if before else {}
        stayed = before is not None and before.channel_id == channel_id
        if before is not None and stayed:
            if user == before.user and flags == before.flags:
                return
            since_ms = before.since_ms
        else:
            since_ms = None if inferred else now_ms
        guild.put(Occupant(user, channel_id, since_ms, flags))
        observation.occupants[user["id"]] = guild.occupants[user["id"]]
        if stayed and not changes:
            return
        observation.events.append(
            self._event(
                "discord.voice.updated"
                if stayed
                else "discord.voice.moved"
                if before
                else "discord.voice.joined",
                guild,
                user,
                now_ms,
                channel=guild.channel(channel_id),
                previous=guild.channel(before.channel_id) if before and not stayed else None,
                changes=changes,
                duration_s=None if stayed or inferred else _seconds_since(before, now_ms),
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
        """Take *user* out of voice and add the event that this is."""
        before = guild.occupants.get(user["id"])
        if before is not None:
            guild.remove(user["id"])
            observation.occupants[user["id"]] = None
        observation.events.append(
            self._event(
                "discord.voice.left",
                guild,
                user,
                now_ms,
                channel=None,
                previous=guild.channel(before.channel_id) if before else None,
                changes={},
                duration_s=None if inferred else _seconds_since(before, now_ms),
                flags=flags,
                inferred=inferred,
            )
        )

    def _event(
        self,
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
        counted = channel or previous
        return {
            "specversion": "1.0",
            "id": self._new_id(now_ms),
            "source": _source(guild.guild),
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

    def _gap(self, guild: GuildOccupancy, since_ms: int | None, reason: GapReason, now_ms: int) -> GapEvent:
        return {
            "specversion": "1.0",
            "id": self._new_id(now_ms),
            "source": _source(guild.guild),
            "type": "discord.voice.gap",
            "time": format_ms(now_ms),
            "data": {
                "guild": guild.guild,
                "from": None if since_ms is None else format_ms(min(since_ms, now_ms)),
                "until": format_ms(now_ms),
                "reason": reason,
            },
        }


def _present(payload: Payload, guild: GuildOccupancy) -> list[Occupant]:
    """Return who is in voice according to a GUILD_CREATE; what it lacks of a person comes from *guild*."""
    members = {parse_user_id({"member": member}): member for member in parse_objects(payload, "members")}
    present = []
    for state in parse_objects(payload, "voice_states"):
        user_id = parse_user_id(state)
        channel_id = parse_id(state.get("channel_id"))
        if user_id is not None and channel_id is not None:
            known = guild.occupants.get(user_id)
            whole = {**state, "member": state.get("member") or members.get(user_id)}
            user = parse_user(whole, user_id, known.user if known else None)
            present.append(Occupant(user, channel_id, None, parse_flags(state)))
    return present


def _row(guild: GuildOccupancy) -> GuildRow:
    return GuildRow(
        guild.guild["name"],
        guild.known,
        guild.unwatched_since_ms,
        None if guild.watched else guild.gap_reason,
    )


def _source(guild: Guild) -> str:
    return "/discord/guilds/" + guild["id"]


def _seconds_since(before: Occupant | None, now_ms: int) -> float | None:
    """Return how long *before* lasted, never negative: the clock may have been set back."""
    if before is None or before.since_ms is None:
        return None
    return max(0, now_ms - before.since_ms) / 1000
