"""From a frame to the outbox: the tracker derives what happened, the rules say where it goes.

The gateway calls it for each frame, in order, and nothing here waits. Only payloads whose events go to the
outbox come here; to handle others, see ``Gateway._take_over_parsers``.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Protocol

import orjson
import structlog

from bot.clock import Clock, system_clock
from bot.outbox.session import Position
from bot.outbox.work import NOTHING_HELD, Advanced, Captured, OutgoingEvent, Released
from bot.routing.debounce import Debouncer, Held, HeldKey
from bot.routing.facts import UNKNOWN, Surroundings, find_key
from bot.routing.lane import find_lane
from bot.routing.rules import Route, Rules
from bot.voice.events import Event, GapEvent, GapReason, VoiceEvent
from bot.voice.handover import HANDED_OVER
from bot.voice.observation import Observation
from bot.voice.occupancy import GuildOccupancy
from bot.voice.payloads import Payload, parse_id, parse_roles
from bot.voice.tracker import Tracker

_NAMED_MAX: Final = 10
"""Of what was skipped in one payload, so many are named in the log."""

_SET_MS: Final = 1000
"""A step of the system clock against the time that has passed; slewing is far slower."""

log = structlog.get_logger(__name__)


def log_skipped(guild_id: str, parts: Sequence[str]) -> None:
    """Log what a payload of the guild has in an unknown shape; the rest of the payload is used."""
    log.warning("payload_parts_skipped", guild_id=guild_id, parts=list(parts[:_NAMED_MAX]), count=len(parts))


class Source(Protocol):
    """Where frames come from; ``position`` is that of the last one in its session.

    Not ``connected`` means that the frames are replayed: they happened earlier, after ``seen_ms``.
    """

    @property
    def seen_ms(self) -> int | None: ...

    @property
    def connected(self) -> bool: ...

    @property
    def position(self) -> Position | None: ...


class Intake:
    """Takes the gateway's payloads; *put* is the outbox's, *held* what an earlier process held back.

    *elapsed* is a clock that is never set, *clock* by default.

    ``rules`` can be replaced at any time: the new ones apply from the next frame on. ``source`` is set
    before each frame: the frame's position in its session is committed with what it changed.
    """

    def __init__(
        self,
        tracker: Tracker,
        rules: Rules,
        put: Callable[[Captured | Released | Advanced], object],
        *,
        held: dict[HeldKey, Held] | None = None,
        clock: Clock = system_clock,
        elapsed: Clock | None = None,
    ) -> None:
        self._tracker = tracker
        self.rules = rules
        self._put = put
        self._clock = clock
        self._elapsed = elapsed or clock
        self._now_ms = clock()
        self._ahead_ms = self._now_ms - self._elapsed()
        self._debouncer = Debouncer(
            held or {}, tracker.people_in, now_ms=self._now_ms, elapsed_ms=self._elapsed()
        )
        # Bound once: the lazy logger costs more for a line that is not written than the rest of an event.
        self._log = log.bind()
        # Of what an earlier process held, it is not known yet whether the session goes on to tell the rest.
        self._begun = not held
        self.transitions = 0
        self.source: Source | None = None

    @property
    def held(self) -> int:
        """How many events the debounce holds back."""
        return self._debouncer.count()

    @property
    def watched_guilds(self) -> int:
        """How many guilds are watched now."""
        return self._tracker.watched_guilds

    @property
    def _is_live(self) -> bool:
        """Whether frames come as things happen, rather than as a replay."""
        return self.source is None or self.source.connected

    def begin(
        self,
        is_resumed: Callable[[str], bool],
        dropped: Collection[int],
        covers: Callable[[str], bool] | None = None,
    ) -> None:
        """Note which guilds an earlier process watched to no purpose; call it before the first frame.

        *is_resumed* says whether a guild's session goes on; the shards that are *dropped* resume none.
        *covers* says which guilds are this process's, ``None`` if all are.
        """
        self._begun = True
        for observation in self._tracker.begin(is_resumed, covers, self._clock()):
            row = observation.guild
            if observation.forgotten or (row is not None and row.gap_reason == HANDED_OVER):
                self._release_all(observation.guild_id)
            self._take(observation)
        if dropped:
            self._put(Advanced(dict.fromkeys(dropped)))

    def _release_all(self, guild_id: str) -> None:
        """Let go of what is held in the guild: what would settle it is not told to this process any more."""
        held = {key: one for key, one in self._debouncer.of_guild(guild_id).items() if one is not None}
        self._debouncer.forget(guild_id)
        if held:
            self._put(Released({key: _outgoing(one) for key, one in held.items()}))

    def release(self) -> None:
        """Let go of the held events that are due."""
        self._read_clock()
        if not self._begun:
            return
        due = self._debouncer.release(self._elapsed(), self._tracker.is_watched)
        if due:
            self._put(Released({key: _outgoing(held) for key, held in due}))

    def voice_state(self, payload: Payload) -> None:
        """Take a VOICE_STATE_UPDATE."""
        now_ms = self._read_clock()
        observation = self._tracker.voice_state(payload, now_ms, replayed=not self._is_live)
        self._take(observation, payload)

    def guild_created(self, payload: Payload) -> None:
        """Take a GUILD_CREATE: a snapshot, unless it only announces an unavailable guild."""
        self._take(self._tracker.snapshot(payload, self._read_clock()), payload)

    def guild_deleted(self, payload: Payload) -> None:
        """Take a GUILD_DELETE: an outage, or the bot's removal."""
        guild_id = parse_id(payload.get("id"))
        if guild_id is None:
            return
        if payload.get("unavailable") is True:
            log.warning("guild_unavailable", guild_id=guild_id)
            since_ms = self._read_clock() if self.source is None or self._is_live else self.source.seen_ms
            self._take(self._tracker.unwatch(guild_id, "guild_unavailable", since_ms=since_ms))
        else:
            log.info("guild_left", guild_id=guild_id)
            self._release_all(guild_id)
            self._take(self._tracker.forget(guild_id))

    def guild_updated(self, payload: Payload) -> None:
        """Take a GUILD_UPDATE."""
        self._take(self._tracker.guild_changed(payload))

    def session_began(
        self, is_of_shard: Callable[[str], bool], guild_ids: Collection[str], *, since_ms: int | None
    ) -> None:
        """Take a new session of a shard, with *guild_ids*: nothing since *since_ms* is replayed.

        That is ``None`` where this process has not watched yet. The shard's guilds are unwatched until their
        snapshots come; the bot has left any not in *guild_ids*.
        """
        reason: GapReason = "restart" if since_ms is None else "session_lost"
        for guild_id in [guild_id for guild_id in self._tracker.guild_ids if is_of_shard(guild_id)]:
            if guild_id in guild_ids:
                self._take(self._tracker.unwatch(guild_id, reason, since_ms=since_ms))
            else:
                self._release_all(guild_id)
                self._take(self._tracker.forget(guild_id))
        position = None if self.source is None else self.source.position
        if position is not None:
            self._put(Advanced({position.session.shard_id: position}))

    def resync(self, on_disk: Mapping[str, GuildOccupancy | None]) -> list[Captured]:
        """Return what makes up for the observations that the outbox let go in these guilds.

        It includes everything held back in these guilds, because some of it may not be on disk.
        """
        observations = self._tracker.resync(on_disk, self._read_clock())
        captured = [self._route(observation, {}) for observation in observations]
        return [one._replace(held=self._debouncer.of_guild(one.observation.guild_id)) for one in captured]

    def channel_changed(self, payload: Payload) -> None:
        """Take a CHANNEL_CREATE or CHANNEL_UPDATE."""
        self._take(self._tracker.channel_changed(payload))

    def channel_deleted(self, payload: Payload) -> None:
        """Take a CHANNEL_DELETE."""
        self._take(self._tracker.channel_deleted(payload))

    def _read_clock(self) -> int:
        """Return the system time; if it was set since the last reading, forget when people came.

        Whether so much time has passed, as for a machine that was paused, or the clock was wrong, is unknown.
        """
        self._now_ms = now_ms = self._clock()
        ahead_ms = now_ms - self._elapsed()
        set_by_ms, self._ahead_ms = ahead_ms - self._ahead_ms, ahead_ms
        if abs(set_by_ms) >= _SET_MS:
            log.warning("clock_was_set", by_s=set_by_ms / 1000)
            observations = {each.guild_id: each for each in self._tracker.forget_arrivals()}
            held: dict[str, dict[HeldKey, Held | None]] = {}
            for key, one in self._debouncer.forget_arrivals().items():
                held.setdefault(key.guild_id, {})[key] = one
            for guild_id in observations.keys() | held.keys():
                observation = observations.get(guild_id, Observation(guild_id))
                self._put(Captured(observation, (), held.get(guild_id, NOTHING_HELD)))
        return now_ms

    def _take(self, observation: Observation | None, payload: Payload | None = None) -> None:
        if observation is not None:
            self._put(self._route(observation, payload or {}))

    def _route(self, observation: Observation, payload: Payload) -> Captured:
        """Return *observation* with its events on their ways; rules may look into *payload*, the frame."""
        self.transitions += len(observation.events)
        rules = self.rules
        around = self._surroundings(observation.guild_id, payload) if rules.asks_around else UNKNOWN
        outgoing: list[OutgoingEvent] = []
        held: dict[HeldKey, Held | None] = {}
        if observation.forgotten:
            held.update(dict.fromkeys(self._debouncer.forget(observation.guild_id)))
        for event in observation.events:
            if event["type"] != "discord.voice.gap" and (rules.debounce or self._debouncer.holds):
                routes = self._debounce(event, around, held)
            elif event["type"] == "discord.voice.gap":
                routes = self._route_gap(event, around._replace(quiet_gap=observation.quiet_gap))
            else:
                routes = rules.route(event, around)
            outgoing += (_send(event, route) for route in routes)
            if self._log.is_enabled_for(logging.DEBUG):
                met = [verdict.label for verdict in rules.explain(event, around) if verdict.unmet is None]
                self._log.debug(
                    "event_captured", event_id=event["id"], type=event["type"], rules=met, routes=routes
                )
        # They go to disk as JSON. Held as dictionaries too, they were most of what a burst has in memory.
        observation.events.clear()
        position = None if self.source is None else self.source.position
        return Captured(observation, outgoing, held or NOTHING_HELD, position)

    def _route_gap(self, gap: GapEvent, around: Surroundings) -> Sequence[Route]:
        """Return where a gap goes; one that goes nowhere is in the log at least."""
        routes = self.rules.route(gap, around)
        if not routes:
            data = gap["data"]
            log.info(
                "gap_not_routed",
                event_id=gap["id"],
                guild_id=data["guild"]["id"],
                since=data["from"],
                until=data["until"],
                reason=data["reason"],
            )
        return routes

    def _debounce(
        self, event: VoiceEvent, around: Surroundings, held: dict[HeldKey, Held | None]
    ) -> Sequence[Route]:
        """Return where *event* goes at once, and note in *held* what is held of it."""
        rules = self.rules
        taken = self._debouncer.take(
            event,
            rules.find_debounces(event, around),
            lambda net: rules.route(net, around),
            now_ms=self._now_ms,
            elapsed_ms=self._elapsed(),
        )
        held.update(taken.held)
        return taken.routes

    def _surroundings(self, guild_id: str, payload: Payload) -> Surroundings:
        categories, afk_channel_id = self._tracker.places(guild_id)
        return Surroundings(parse_roles(payload), categories, afk_channel_id)


def _outgoing(held: Held) -> list[OutgoingEvent]:
    return [_send(held.event, route) for route in held.routes]


def _send(event: Event, route: Route) -> OutgoingEvent:
    """Return *event* on its way."""
    workflow, destination, _, batch_max_events, parameters, signal, key_of = route
    lane = find_lane(workflow, event["data"]["guild"]["id"])
    key = find_key(event, key_of)
    return OutgoingEvent(
        lane, destination, event["id"], _encode(event), batch_max_events, parameters, key, signal
    )


def _encode(event: Event) -> str:
    return orjson.dumps(event).decode()
