"""From a frame to the outbox: capture derives what happened, the rules say where it goes.

Called by the gateway for each frame, in order, and done with it before the next: nothing here waits.
"""

import logging
from collections.abc import Callable, Collection, Mapping

import orjson
import structlog

from bot.clock import Clock, system_clock
from bot.outbox.batch import AS_BEFORE, OutgoingEvent
from bot.outbox.service import Seen, Settled
from bot.routing.debounce import Held, HeldKey, Settler
from bot.routing.lane import Lane
from bot.routing.rules import UNKNOWN, Rules, Surroundings
from bot.voice.events import Event
from bot.voice.observation import Observation
from bot.voice.occupancy import GuildOccupancy
from bot.voice.payloads import Payload, parse_id, parse_roles
from bot.voice.tracker import Capture

log = structlog.get_logger(__name__)


class Intake:
    """Takes the gateway's payloads; *put* and *settled* are the outbox's, *held* is from an earlier process.

    ``rules`` can be replaced at any time: the next frame goes by the new ones.
    """

    def __init__(
        self,
        capture: Capture,
        rules: Rules,
        put: Callable[[Seen], object],
        settled: Callable[[Settled], object],
        *,
        held: dict[HeldKey, Held] | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._capture = capture
        self.rules = rules
        self._put = put
        self._settled = settled
        self._settler = Settler(held or {}, capture.people_in)
        self._clock = clock
        # Bound once: for a line that is not written, the lazy logger costs more than the rest of an event.
        self._log = log.bind()
        self.transitions = 0

    @property
    def held(self) -> int:
        """How many comings and goings wait to settle."""
        return len(self._settler)

    @property
    def watched_guilds(self) -> int:
        """How many guilds are watched now."""
        return self._capture.watched_guilds

    def begin(self) -> None:
        """Note that the guilds of an earlier process are not watched yet; comes before everything else."""
        for observation in self._capture.begin():
            self._take(observation)

    def release(self) -> None:
        """Let go of what has settled."""
        due = self._settler.release(self._clock())
        if due:
            self._settled(
                Settled({key: _outgoing(key.lane, key.destination, event, AS_BEFORE) for key, event in due})
            )

    def voice_state(self, payload: Payload) -> None:
        """Take a VOICE_STATE_UPDATE."""
        self._take(self._capture.voice_state(payload, self._clock()), payload)

    def guild_created(self, payload: Payload) -> None:
        """Take a GUILD_CREATE: a snapshot, unless the guild is only announced."""
        self._take(self._capture.snapshot(payload, self._clock()), payload)

    def guild_deleted(self, payload: Payload) -> None:
        """Take a GUILD_DELETE: an outage, or the bot's removal."""
        guild_id = parse_id(payload.get("id"))
        if guild_id is None:
            return
        if payload.get("unavailable") is True:
            log.warning("guild_unavailable", guild_id=guild_id)
            self._take(self._capture.unwatch(guild_id, "guild_unavailable", since_ms=self._clock()))
        else:
            log.info("guild_left", guild_id=guild_id)
            self._take(self._capture.forget(guild_id))

    def guild_updated(self, payload: Payload) -> None:
        """Take a GUILD_UPDATE."""
        self._take(self._capture.guild_changed(payload))

    def session_began(
        self, is_of_shard: Callable[[str], bool], guild_ids: Collection[str], *, since_ms: int | None
    ) -> None:
        """Take a new session of a shard, which is in *guild_ids*: nothing since *since_ms* is replayed.

        The guilds that it followed are unwatched until their snapshots come; those that it is no longer in
        are forgotten.
        """
        for guild_id in [guild_id for guild_id in self._capture.guild_ids if is_of_shard(guild_id)]:
            if guild_id in guild_ids:
                self._take(self._capture.unwatch(guild_id, "session_lost", since_ms=since_ms))
            else:
                self._take(self._capture.forget(guild_id))

    def resync(self, on_disk: Mapping[str, GuildOccupancy | None], since_ms: int) -> list[Seen]:
        """Return what makes up for observations that the outbox had to let go since *since_ms*.

        With it comes all that is held of these guilds: some of it may not be on disk.
        """
        observations = self._capture.resync(on_disk, since_ms, self._clock())
        self.transitions += sum(len(observation.events) for observation in observations)
        seen = [self._route(observation, {}) for observation in observations]
        return [one._replace(held=self._settler.of_guild(one.observation.guild_id)) for one in seen]

    def channel_changed(self, payload: Payload) -> None:
        """Take a CHANNEL_CREATE or CHANNEL_UPDATE."""
        self._capture.channel_changed(payload)

    def channel_deleted(self, payload: Payload) -> None:
        """Take a CHANNEL_DELETE."""
        self._capture.channel_deleted(payload)

    def _take(self, observation: Observation | None, payload: Payload | None = None) -> None:
        """Take what capture makes of a frame; *payload* is the frame, where rules may ask for more of it."""
        if observation is None:
            return
        self.transitions += len(observation.events)
        self._put(self._route(observation, payload or {}))

    def _route(self, observation: Observation, payload: Payload) -> Seen:
        rules = self.rules
        around = self._surroundings(observation.guild_id, payload) if rules.asks_around else UNKNOWN
        outgoing: list[OutgoingEvent] = []
        held: dict[HeldKey, Held | None] = {}
        if observation.forgotten and len(self._settler):
            held.update(dict.fromkeys(self._settler.forget(observation.guild_id)))
        for event in observation.events:
            routes = rules.route(event, around)
            for route in routes:
                lane = Lane(route.workflow, observation.guild_id)
                if route.settle_s or len(self._settler):
                    taken = self._settler.take(
                        lane,
                        route.destination,
                        event,
                        settle_ms=int(route.settle_s * 1000),
                        now_ms=self._clock(),
                    )
                    if taken is not None:
                        held[taken[0]] = taken[1]
                        continue
                outgoing.append(_outgoing(lane, route.destination, event, route.batch_max_events))
            if self._log.is_enabled_for(logging.DEBUG):
                met = [verdict.label for verdict in rules.explain(event, around) if verdict.unmet is None]
                self._log.debug(
                    "event_captured", event_id=event["id"], type=event["type"], rules=met, routes=routes
                )
        return Seen(observation, outgoing, held)

    def _surroundings(self, guild_id: str, payload: Payload) -> Surroundings:
        categories, afk_channel_id = self._capture.places(guild_id)
        return Surroundings(parse_roles(payload), categories, afk_channel_id)


def _outgoing(
    lane: Lane, destination: str, event: Event, batch_max_events: int | None = None
) -> OutgoingEvent:
    return OutgoingEvent(lane, destination, event["id"], orjson.dumps(event).decode(), batch_max_events)
