"""From a frame to the outbox: capture derives what happened, the rules say where it goes.

Called by the gateway for each frame, in order, and done with it before the next: nothing here waits.
"""

import logging
from collections.abc import Callable, Collection, Sequence

import orjson
import structlog

from bot.batch import Lane, OutgoingEvent
from bot.capture import Capture, Observation
from bot.payloads import Payload, parse_id, parse_roles
from bot.rules import UNKNOWN, Rules, Surroundings
from bot.timestamps import Clock, system_clock

log = structlog.get_logger(__name__)


class Intake:
    """Takes the gateway's payloads; *put* is the outbox's.

    ``rules`` can be replaced at any time: the next frame goes by the new ones.
    """

    def __init__(
        self,
        capture: Capture,
        rules: Rules,
        put: Callable[[Observation, Sequence[OutgoingEvent]], object],
        *,
        clock: Clock = system_clock,
    ) -> None:
        self._capture = capture
        self.rules = rules
        self._put = put
        self._clock = clock
        # Bound once: for a line that is not written, the lazy logger costs more than the rest of an event.
        self._log = log.bind()
        self.transitions = 0

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

    def channel_changed(self, payload: Payload) -> None:
        """Take a CHANNEL_CREATE or CHANNEL_UPDATE."""
        self._capture.channel_changed(payload)

    def channel_deleted(self, payload: Payload) -> None:
        """Take a CHANNEL_DELETE."""
        self._capture.channel_deleted(payload)

    def _take(self, observation: Observation | None, payload: Payload | None = None) -> None:
        """Take what capture makes of a frame; only what is made of a *payload* has events."""
        if observation is None:
            return
        self.transitions += len(observation.events)
        self._put(observation, self._route(observation, payload or {}))

    def _route(self, observation: Observation, payload: Payload) -> list[OutgoingEvent]:
        rules = self.rules
        around = self._surroundings(observation.guild_id, payload) if rules.asks_around else UNKNOWN
        outgoing = []
        for event in observation.events:
            routes = rules.route(event, around)
            if routes:
                body = orjson.dumps(event).decode()
                for route in routes:
                    lane = Lane(route.workflow, observation.guild_id)
                    outgoing.append(OutgoingEvent(lane, route.destination, event["id"], body))
            if self._log.is_enabled_for(logging.DEBUG):
                met = [verdict.label for verdict in rules.explain(event, around) if verdict.unmet is None]
                self._log.debug(
                    "event_captured", event_id=event["id"], type=event["type"], rules=met, routes=routes
                )
        return outgoing

    def _surroundings(self, guild_id: str, payload: Payload) -> Surroundings:
        categories, afk_channel_id = self._capture.places(guild_id)
        return Surroundings(parse_roles(payload), categories, afk_channel_id)
