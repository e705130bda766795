"""What the outbox is given to write: the items that it takes in, and the work of one transaction.

The event loop hands over items one by one. The writer gathers those that have piled up into one ``Work``, and
the store commits that as one transaction.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

from bot.outbox.batch import Report
from bot.outbox.session import Position
from bot.routing.debounce import Held, HeldKey
from bot.routing.lane import Lane
from bot.routing.rules import NO_PARAMETERS
from bot.voice.observation import Observation
from bot.voice.payloads import shard_of

UNCHANGED: Final = 0
NOTHING_HELD: Final[Mapping[HeldKey, Held | None]] = MappingProxyType({})


class OutgoingEvent(NamedTuple):
    """An event on its way into a lane; ``body`` is its JSON, sent as it is.

    ``batch_max_events`` becomes the lane's batch size: ``None`` for the default, ``UNCHANGED`` to keep it.
    ``parameters`` are JSON too, and events share a batch only if they are the same. With a ``key`` an event
    has an execution of its own, remembered under it; as a ``signal`` it goes to the one that is remembered.
    """

    lane: Lane
    destination: str
    event_id: str
    body: str
    batch_max_events: int | None = None
    parameters: str = NO_PARAMETERS
    key: str | None = None
    signal: str | None = None


class Captured(NamedTuple):
    """What one frame changed, committed as one: rows, events to deliver, and events held back.

    ``position`` is the frame's own in its session: a RESUME goes on after it.
    """

    observation: Observation
    events: Sequence[OutgoingEvent]
    held: Mapping[HeldKey, Held | None] = NOTHING_HELD
    position: Position | None = None


class Released(NamedTuple):
    """What the debounce held back and now lets go, with the events that this sends out, if any."""

    events: Mapping[HeldKey, Sequence[OutgoingEvent]]


@dataclass(frozen=True, slots=True)
class Watched:
    """Until when each shard, of *shard_count*, is known to have been watching.

    What the file says of shards that are not in ``shard_ids`` is out of date, unless that is empty.
    """

    shard_count: int
    until_ms: Mapping[int, int]
    shard_ids: Collection[int] = ()

    def of_guild(self, guild_id: str) -> int | None:
        return self.until_ms.get(shard_of(guild_id, self.shard_count))


@dataclass(frozen=True, slots=True)
class Tick:
    """Do the regular housekeeping, and note until when the shards were watching."""

    watched: Watched | None


@dataclass(frozen=True, slots=True)
class Advanced:
    """How far each shard's session has been taken in; ``None`` for one that is not to be resumed."""

    positions: Mapping[int, Position | None]


@dataclass(frozen=True, slots=True)
class LetGo:
    """Since when observations of each of these guilds were let go before they came here."""

    since_ms: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Resynced:
    """What makes up for lost observations; ``captured`` has everything held back in the guilds.

    ``positions`` are those of the sessions at the same moment: with them nothing that the differences make
    up for is replayed.
    """

    captured: Sequence[Captured]
    guild_ids: frozenset[str]
    positions: Mapping[int, Position]


@dataclass(frozen=True, slots=True)
class Drain:
    """Begin no more batches."""


@dataclass(frozen=True, slots=True)
class Sync:
    """Call *done* once everything before this is on disk; *stop* then ends the writer."""

    done: Callable[[], object]
    stop: bool = False


Item = Captured | Released | Tick | Advanced | LetGo | Resynced | Report | Drain | Sync


@dataclass(slots=True)
class Work:
    """What goes to disk in one transaction.

    ``held`` has what is now held under each key that changed, ``None`` for nothing; in the guilds of
    ``held_anew`` it is all there is. ``released`` are events that the debounce let go: they are taken even
    into a full file. ``losses`` says since when guilds are unwatched, because observations of theirs were let
    go. ``seen_ms`` has, by the number of shards and the shard, when the last live frame was taken.
    ``housekeeping`` redrives the dead letters that are marked, and drops old receipts.
    """

    observations: list[Observation] = field(default_factory=list)
    events: list[OutgoingEvent] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    held: dict[HeldKey, Held | None] = field(default_factory=dict)
    held_anew: set[str] = field(default_factory=set)
    released: list[OutgoingEvent] = field(default_factory=list)
    positions: dict[int, Position | None] = field(default_factory=dict)
    losses: Mapping[str, int] = field(default_factory=dict)
    watched: Watched | None = None
    seen_ms: dict[tuple[int, int], int] = field(default_factory=dict)
    housekeeping: bool = False

    def capture(self, captured: Captured) -> None:
        observation, events, held, position = captured
        self.observations.append(observation)
        self.events.extend(events)
        if held:
            self.held.update(held)
        if position is not None:
            session = position.session
            self.positions[session.shard_id] = position
            if captured.observation.seen_ms is not None:
                self.seen_ms[session.shard_count, session.shard_id] = captured.observation.seen_ms

    def release(self, events: Mapping[HeldKey, Sequence[OutgoingEvent]]) -> None:
        for outgoing in events.values():
            self.released.extend(outgoing)
        self.held.update(dict.fromkeys(events))

    def tick(self, watched: Watched | None) -> None:
        self.watched = watched or self.watched
        self.housekeeping = True

    def drop_captured(self) -> Iterable[str]:
        """Let go of what was captured, and return the guilds that it concerned.

        What became of batches and what the debounce let go stays: both are few, and already on disk. So do
        rows that say since when a guild is unwatched.
        """
        gone = [observation for observation in self.observations if not observation.begins_gap]
        self.observations = [observation for observation in self.observations if observation.begins_gap]
        guild_ids = {observation.guild_id for observation in gone}
        self.events.clear()
        self.held_anew.clear()
        # A session that went on would never replay them.
        self.positions.clear()
        self.seen_ms.clear()
        released = {event.lane.guild_id for event in self.released}
        self.held = {
            key: held for key, held in self.held.items() if held is None and key.guild_id in released
        }
        return guild_ids
