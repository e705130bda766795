"""From a frame to the outbox: capture derives what happened, the rules say where it goes.

Called by the gateway for each frame, in order, and done with it before the next: nothing here waits.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import orjson
import structlog

from bot.batch import Lane, OutgoingEvent
from bot.capture import Capture, Observation
from bot.events import Event
from bot.occupancy import GuildOccupancy
from bot.payloads import Payload, parse_id
from bot.rules import Rules
from bot.timestamps import Clock, system_clock

log = structlog.get_logger(__name__)


class Intake:
    """Takes the gateway's payloads; *put* is the outbox's."""

    def __init__(
        self,
        capture: Capture,
        rules: Rules,
        put: Callable[[Observation, Sequence[OutgoingEvent]], object],
        *,
        clock: Clock = system_clock,
    ) -> None:
        self._capture = capture
        self._rules = rules
        self._put = put
        self._clock = clock
        # Bound once: for a line that is not written, the lazy logger costs more than the rest of an event.
        self._log = log.bind()
        self.transitions = 0

    def voice_state(self, payload: Payload) -> None:
        """Take a VOICE_STATE_UPDATE."""
        self._take(self._capture.voice_state(payload, self._clock()))

    def guild_created(self, payload: Payload) -> None:
        """Take a GUILD_CREATE: a snapshot, unless the guild is only announced."""
        self._take(self._capture.snapshot(payload, self._clock()))

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

    def resync(
        self, on_disk: Mapping[str, GuildOccupancy | None], since_ms: int
    ) -> list[tuple[Observation, list[OutgoingEvent]]]:
        """Return what makes up for observations that the outbox had to let go since *since_ms*."""
        observations = self._capture.resync(on_disk, since_ms, self._clock())
        self.transitions += sum(len(observation.events) for observation in observations)
        return [(observation, self._route(observation.events)) for observation in observations]

    def channel_changed(self, payload: Payload) -> None:
        """Take a CHANNEL_CREATE or CHANNEL_UPDATE."""
        self._capture.channel_changed(payload)

    def channel_deleted(self, payload: Payload) -> None:
        """Take a CHANNEL_DELETE."""
        self._capture.channel_deleted(payload)

    def _take(self, observation: Observation | None) -> None:
        if observation is None:
            return
        self.transitions += len(observation.events)
        self._put(observation, self._route(observation.events))

    def _route(self, events: Sequence[Event]) -> list[OutgoingEvent]:
        outgoing = []
        for event in events:
            route = self._rules.route(event)
            if route is not None:
                lane = Lane(route.workflow, event["data"]["guild"]["id"])
                body = orjson.dumps(event).decode()
                outgoing.append(OutgoingEvent(lane, route.destination, event["id"], body))
            self._log.debug("event_captured", event_id=event["id"], type=event["type"], route=route)
        return outgoing
