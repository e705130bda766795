"""Gateway sessions, with a replay buffer for clients that resume.

A session outlives its connection. Every event gets the session's next sequence number and goes into a bounded
replay buffer, and to the connection if one is attached.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from infra.local.discord.notifier import Notifier
from infra.local.discord.snowflakes import shard_of
from infra.local.discord.transitions import Reach

# https://docs.discord.com/developers/events/gateway#list-of-intents
INTENT_GUILDS = 1 << 0
INTENT_GUILD_MEMBERS = 1 << 1
INTENT_VOICE_STATES = 1 << 7
_INTENT_OF_EVENT = {
    "GUILD_CREATE": INTENT_GUILDS,
    "GUILD_DELETE": INTENT_GUILDS,
    "CHANNEL_CREATE": INTENT_GUILDS,
    "CHANNEL_UPDATE": INTENT_GUILDS,
    "CHANNEL_DELETE": INTENT_GUILDS,
    "GUILD_MEMBER_UPDATE": INTENT_GUILD_MEMBERS,
    "VOICE_STATE_UPDATE": INTENT_VOICE_STATES,
}


class Frame(NamedTuple):
    """One dispatch: sequence number, event name and JSON data."""

    seq: int
    event: str
    data: bytes


class Wire(Protocol):
    """The connection of a session."""

    def enqueue(self, frame: Frame) -> None: ...

    @property
    def idle(self) -> bool:
        """Whether everything enqueued has been written."""

    async def wait_for_room(self) -> None: ...

    def abort(self) -> None: ...


class Session:
    """The session of one IDENTIFY. ``missing`` holds guilds whose GUILD_CREATE has not been sent yet."""

    def __init__(self, id: str, *, shard: tuple[int, int], intents: int, replay_limit: int) -> None:  # noqa: A002
        self.id = id
        self.shard_id, self.shard_count = shard
        self.intents = intents
        self.seq = 0
        self.wire: Wire | None = None
        self.detached_at = 0.0
        self.revoked = False
        self.missing: set[str] = set()
        self._replay: deque[Frame] = deque(maxlen=replay_limit)

    @property
    def caught_up(self) -> bool:
        """Whether a connection is attached and everything has been sent to it."""
        return self.wire is not None and self.wire.idle and not self.missing

    def receives(self, guild_id: str) -> bool:
        return shard_of(int(guild_id), self.shard_count) == self.shard_id

    def dispatch(self, event: str, data: bytes) -> Reach:
        intent = _INTENT_OF_EVENT.get(event)
        if intent is not None and not self.intents & intent:
            return "unseen"
        self.seq += 1
        frame = Frame(self.seq, event, data)
        self._replay.append(frame)
        if self.wire is None:
            return "buffered"
        self.wire.enqueue(frame)
        return "live"

    def can_resume(self, seq: int) -> bool:
        """Whether the replay buffer still has everything after *seq*."""
        return seq == self.seq or bool(self._replay and self._replay[0].seq <= seq + 1)

    def after(self, seq: int) -> Iterator[Frame]:
        """Iterate over the frames after *seq*, without RESUMED, which concerned an earlier connection."""
        return (frame for frame in self._replay if frame.seq > seq and frame.event != "RESUMED")


class Sessions:
    """All sessions; publishes each event to those that receive its guild."""

    def __init__(
        self,
        *,
        notifier: Notifier,
        replay_limit: int,
        ttl_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._by_id: dict[str, Session] = {}
        self._notifier = notifier
        self._replay_limit = replay_limit
        self._ttl_s = ttl_s
        self._clock = clock

    def count(self, what: str) -> None:
        self.counts[what] += 1
        self._notifier.notify()

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_id.values()))

    def open(self, *, shard: tuple[int, int], intents: int) -> Session:
        self.count("identified")
        number = self.counts["identified"]
        session = Session(f"{number:032x}", shard=shard, intents=intents, replay_limit=self._replay_limit)
        self._by_id[session.id] = session
        return session

    def find(self, session_id: str) -> Session | None:
        """Return the session if it may be resumed: known and not expired."""
        session = self._by_id.get(session_id)
        if session is None or session.wire is not None:
            return session
        if self._clock() - session.detached_at > self._ttl_s:
            self.end(session)
            return None
        return session

    def attach(self, session: Session, wire: Wire) -> None:
        """Attach a session to a connection, and drop its previous one."""
        if session.wire is not None and session.wire is not wire:
            session.wire.abort()
        session.wire = wire
        self._notifier.notify()

    def detach(self, session: Session, wire: Wire) -> None:
        if session.wire is wire:
            session.wire = None
            session.detached_at = self._clock()
            if session.revoked:
                self.end(session)
            self._notifier.notify()

    def revoke(self, session: Session) -> None:
        """End the session with its connection, or now if it has none."""
        session.revoked = True
        if session.wire is None:
            self.end(session)

    def holds(self, session: Session) -> bool:
        return session.id in self._by_id

    def end(self, session: Session) -> None:
        self._by_id.pop(session.id, None)
        self._notifier.notify()

    def publish(self, guild_id: str | None, event: str, data: bytes) -> Reach:
        """Send an event at once to every session that receives the guild (``None``: every session).

        A session without the guild's GUILD_CREATE gets nothing before it; the GUILD_CREATE is complete.
        """
        reached: Reach = "unseen"
        for session in self._by_id.values():
            if guild_id is not None:
                if not session.receives(guild_id):
                    continue
                if event in ("GUILD_CREATE", "GUILD_DELETE"):
                    session.missing.discard(guild_id)
                elif guild_id in session.missing:
                    continue
            reach = session.dispatch(event, data)
            if reached != "live" and reach != "unseen":
                reached = reach
        return reached

    async def wait_for_room(self) -> None:
        """Wait while any connected client lags too far behind."""
        for session in tuple(self._by_id.values()):
            if session.wire is not None:
                await session.wire.wait_for_room()

    def connected_shards(self) -> set[int]:
        """Return the shards whose session has been sent everything."""
        return {session.shard_id for session in self._by_id.values() if session.caught_up}
