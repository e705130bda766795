"""Injects every failure that can happen on Discord's side.

``Faults`` acts at once on existing connections; ``FaultSettings`` affects later ones. A *shard* of ``None``
means all shards.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from infra.local.discord.connection import Connection
from infra.local.discord.session import Session, Sessions

_HEARTBEAT, _RECONNECT, _INVALID_SESSION = 1, 7, 9


@dataclass
class RouteFault:
    """What happens to one request of a route, before it takes effect; after that if *done*.

    It waits until ``go_on`` is set; ``reached`` says that it does. Then it is answered with *status*, or not
    at all if *drop*, or as usual.
    """

    status: int | None = None
    drop: bool = False
    done: bool = False
    delay_s: float = 0.0
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class FaultSettings:
    """``acks``: whether to acknowledge heartbeats. ``guild_delay_s``: the pause before each GUILD_CREATE of a
    new session. ``upgrade_failures`` and ``rest_failures``: statuses for the next WebSocket upgrades and for
    the next REST requests other than webhooks, one each. ``silent_upgrades``: how many of the next
    connections hear nothing. ``identify_refusals``: answers to the next IDENTIFYs, 9 for op 9, else a code to
    close with. ``route_faults``: what happens to the next requests of one route, as the door names it.
    """

    acks: bool = True
    guild_delay_s: float = 0.0
    upgrade_failures: deque[int] = field(default_factory=deque)
    rest_failures: deque[int] = field(default_factory=deque)
    silent_upgrades: int = 0
    identify_refusals: deque[int] = field(default_factory=deque)
    route_faults: dict[str, deque[RouteFault]] = field(default_factory=dict)

    def next_route_fault(self, route: str) -> RouteFault | None:
        faults = self.route_faults.get(route)
        return faults.popleft() if faults else None


class Faults:
    def __init__(
        self,
        *,
        sessions: Sessions,
        fault_settings: FaultSettings,
        stop_listening: Callable[[], Awaitable[None]],
        start_listening: Callable[[], Awaitable[None]],
    ) -> None:
        self._sessions = sessions
        self._fault_settings = fault_settings
        self._stop_listening = stop_listening
        self._start_listening = start_listening

    # --- connections

    async def drop(self, shard: int | None = None, *, reset: bool = False) -> None:
        """Drop TCP without a close frame. Unread frames are lost until a RESUME replays them."""
        for session, connection in self._attached(shard):
            connection.abort(reset=reset)
            self._sessions.detach(session, connection)

    async def cut_frame(self, shard: int | None = None) -> None:
        """Disconnect in the middle of the next dispatch."""
        for _, connection in self._attached(shard):
            connection.cut_next()

    async def close(self, code: int, reason: str = "", shard: int | None = None) -> None:
        """Close with *code*; 4007 and 4009 also end the session."""
        for session, connection in self._attached(shard):
            if code in (4007, 4009):
                self._sessions.end(session)
            await connection.close(code, reason)

    async def garble(self, shard: int | None = None) -> None:
        """Send a frame that nobody can read."""
        for _, connection in self._attached(shard):
            await connection.send_garbage()

    async def send_raw(self, message: bytes, shard: int | None = None) -> None:
        """Send *message* in place of a frame; a RESUME does not replay it."""
        for _, connection in self._attached(shard):
            await connection.send_raw(message)

    async def poison(self, shard: int | None = None) -> None:
        """Send a dispatch that is not JSON, now and with every RESUME of these sessions."""
        for session in self._sessions:
            if shard in (None, session.shard_id):
                session.dispatch("VOICE_STATE_UPDATE", b"{")

    async def reconnect(self, shard: int | None = None) -> None:
        """Op 7: ask the client to reconnect and resume."""
        for _, connection in self._attached(shard):
            await connection.send(_RECONNECT)

    async def invalidate(self, *, resumable: bool, shard: int | None = None) -> None:
        """Op 9: invalidate the session; unless *resumable*, it ends and its replay buffer is lost."""
        for session, connection in self._attached(shard):
            if not resumable:
                self._sessions.end(session)
            await connection.send(_INVALID_SESSION, resumable)

    async def request_heartbeat(self, shard: int | None = None) -> None:
        for _, connection in self._attached(shard):
            await connection.send(_HEARTBEAT)

    async def expire_sessions(self, shard: int | None = None) -> None:
        """Make sessions end with their connections, so that a later RESUME is refused with op 9."""
        for session in self._sessions:
            if shard in (None, session.shard_id):
                self._sessions.revoke(session)

    # --- later connections and requests

    async def refuse_connections(self) -> None:
        """Close the gateway's port until ``accept_connections``; REST still works."""
        await self._stop_listening()

    async def accept_connections(self) -> None:
        await self._start_listening()

    def fail_upgrades(self, times: int, status: int = 503) -> None:
        self._fault_settings.upgrade_failures.extend([status] * times)

    def mute_connections(self, times: int) -> None:
        """Accept the next connections, and say nothing on them."""
        self._fault_settings.silent_upgrades += times

    def refuse_identify(self, times: int, code: int = 4000) -> None:
        """Answer the next IDENTIFYs with a close code, or with op 9 where *code* is 9."""
        self._fault_settings.identify_refusals.extend([code] * times)

    def fail_rest(self, times: int, status: int = 503) -> None:
        self._fault_settings.rest_failures.extend([status] * times)

    def fail_route(
        self,
        route: str,
        times: int = 1,
        *,
        status: int | None = None,
        drop: bool = False,
        done: bool = False,
        delay_s: float = 0.0,
    ) -> None:
        """Fail or delay the next requests of *route*, such as ``POST /channels/{channel}/messages``.

        With *drop* there is no answer; with *done* only the answer is lost, and the request took effect.
        """
        for _ in range(times):
            fault = self._add_fault(route, RouteFault(status, drop, done, delay_s))
            fault.go_on.set()

    def hold_route(self, route: str, *, done: bool = False) -> RouteFault:
        """Hold the next request of *route* until ``go_on`` of what is returned is set."""
        return self._add_fault(route, RouteFault(done=done))

    def _add_fault(self, route: str, fault: RouteFault) -> RouteFault:
        self._fault_settings.route_faults.setdefault(route, deque()).append(fault)
        return fault

    def stop_acks(self) -> None:
        self._fault_settings.acks = False

    def resume_acks(self) -> None:
        self._fault_settings.acks = True

    def delay_guilds(self, delay_s: float) -> None:
        """From the next IDENTIFY on, wait *delay_s* before each GUILD_CREATE."""
        self._fault_settings.guild_delay_s = delay_s

    def _attached(self, shard: int | None) -> Iterator[tuple[Session, Connection]]:
        for session in self._sessions:
            if shard in (None, session.shard_id) and isinstance(session.wire, Connection):
                yield session, session.wire
