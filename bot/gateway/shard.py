"""One shard's connection to Discord, kept up for as long as it runs.

A session outlives its connections, and the process: Discord keeps it for some minutes and replays what was
missed to the one that resumes it. So it is given up only when Discord says that it is gone:

    there is    the next connection begins with   which ends in
    a session   RESUME                            RESUMED: nothing was missed
                                                  op 9 (not resumable), 4007, 4009: no session
                                                  a bad frame, several times the same: no session
                                                  anything else: the session stays, try again
    no session  IDENTIFY, when it is allowed      READY: a new session, and a gap before it
                                                  anything else: try again, later each time

"Anything else" is a refused connection, a 503 at the upgrade, a time-out, a frame that cannot be read, any
other close code. Attempts back off with full jitter; READY and RESUMED reset that, but not after a bad frame:
it may come again right behind them. IDENTIFYs that come to nothing, or to a session that is soon gone again,
back off much further, because Discord counts them.

A RESUME replays the bad frame, too. What comes again at the same place in the session is not the network's
doing, and would keep the shard dark: the session is given up then, with a gap from when it last watched.

Every second attempt to RESUME goes to the gateway's general address: the session's own may be gone for good.
On the way out the connection is closed with 4000, which keeps the session; 1000 and 1001 would end it.
"""

# https://docs.discord.com/developers/events/gateway#resuming
# https://docs.discord.com/developers/events/gateway#initiating-a-disconnect

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NoReturn

import structlog

from bot.backoff import backoff_s
from bot.clock import Clock
from bot.gateway.bad_frames import ATTEMPTS, BadFrames
from bot.gateway.frames import BadFrameError, parse_ready
from bot.gateway.intake import Intake
from bot.gateway.refusals import ends_session, explain_end, find_bad_frame, find_fatal
from bot.gateway.rest import RestError
from bot.gateway.session_starts import SessionStarts
from bot.gateway.websocket import DrainingWebSocket, Host, Parser
from bot.outbox.session import Position, Session
from bot.voice.payloads import Payload, parse_id, parse_objects, shard_of

CAP_S = 30.0
INVALIDATED_S = (1.0, 5.0)
"""After op 9 Discord wants a random pause before the next IDENTIFY."""
REFUSED_S = 5.0
REFUSED_CAP_S = 900.0
SHORT_LIVED_S = 600.0
"""A session that Discord ends sooner counts as a refused IDENTIFY."""

_ANSWER_S: Final = 60.0
"""How long a connection may take to get on: to connect, to say HELLO, to replay, to say READY."""
_CLOSE_S: Final = 2.0
_KEEPS_SESSION: Final = 4000

log = structlog.get_logger(__name__)


class Shard:
    """Supervises one shard; *open_host* makes what its connections are opened with.

    *position* is where an earlier process left its session. ``trouble`` says why it is not connected.
    """

    def __init__(
        self,
        shard_id: int,
        shard_count: int,
        bot_id: str,
        intake: Intake,
        starts: SessionStarts,
        open_host: Callable[["Shard"], Host],
        *,
        on_interaction: Parser | None = None,
        position: Position | None,
        clock: Clock,
    ) -> None:
        self.id = shard_id
        self.count = shard_count
        self._bot_id = bot_id
        self._intake = intake
        self._starts = starts
        self._on_interaction = on_interaction
        self._clock = clock
        self._session = None if position is None else position.session
        self._seq = 0 if position is None else position.seq
        self._host = open_host(self)
        self._limit: asyncio.Timeout | None = None
        self._failures = 0
        self._refusals = 0
        self._bad_frames = BadFrames()
        self._connected_ms: int | None = None
        self._ready_on: DrainingWebSocket | None = None
        self._identified = False
        self._began_ms: int | None = None
        self.connected = False
        self.trouble = "connecting"
        self.seen_ms: int | None = None

    @property
    def position(self) -> Position | None:
        """How far the session has been taken in: everything up to the frame at hand."""
        websocket = self._host.websocket
        if websocket is not None and websocket.sequence is not None:
            self._seq = websocket.sequence
        return None if self._session is None else Position(self._session, self._seq)

    def watched_until(self) -> int | None:
        """Return until when this process is known to have watched; ``None`` if it has not."""
        websocket = self._host.websocket
        silence_s = None if websocket is None else websocket.silence_s
        if self.connected and self.seen_ms is not None and silence_s is not None:
            self.seen_ms = max(self.seen_ms, self._clock() - int(silence_s * 1000))
        return self.seen_ms

    def build_parsers(self) -> dict[str, Parser]:
        """Return what takes the frames, by name; what is raised over a frame is logged and ends there."""
        intake = self._intake
        takes: dict[str, Parser] = {
            "READY": self._on_ready,
            "RESUMED": self._on_resumed,
            "VOICE_STATE_UPDATE": intake.voice_state,
            "GUILD_CREATE": intake.guild_created,
            "GUILD_UPDATE": intake.guild_updated,
            "GUILD_DELETE": intake.guild_deleted,
            "CHANNEL_CREATE": intake.channel_changed,
            "CHANNEL_UPDATE": intake.channel_changed,
            "CHANNEL_DELETE": intake.channel_deleted,
        }
        if self._on_interaction is not None:
            takes["INTERACTION_CREATE"] = self._on_interaction
        return {name: self._guard(name, take) for name, take in takes.items()}

    async def run(self) -> NoReturn:
        """Stay connected until cancelled. Raises a RelayError where Discord refuses the bot for good."""
        while True:
            try:
                await self._hold()
            except Exception as error:  # noqa: BLE001  # any failure of one connection is followed by another
                fatal = find_fatal(error)
                if fatal is not None:
                    raise fatal from None
                delay_s = self._end(error)
            await asyncio.sleep(delay_s)

    async def before_identify(self) -> None:
        """Wait for this shard's turn; the connection is open and kept alive meanwhile."""
        if self._limit is not None:
            self._limit.reschedule(None)
        await self._starts.take_turn(self.id)
        self._identified = True
        self._extend_limit()

    async def _hold(self) -> NoReturn:
        """Hold one connection until it ends, which raises why."""
        position = self.position
        self._host.websocket = None
        self._identified = False
        try:
            if position is None:
                await self._starts.allow(self.id, self._say)
            async with asyncio.timeout(_ANSWER_S) as self._limit:
                websocket = await self._host.open(self.id, self._choose_url(position), position)
                while not self.connected:
                    seq = websocket.sequence
                    await websocket.poll_event()
                    if websocket.sequence != seq:
                        self._extend_limit()
            while True:
                await websocket.poll_event()
        finally:
            self._starts.settle(self.id)
            await self._close()

    def _choose_url(self, position: Position | None) -> str:
        if position is None or (self._failures % 2 and self._starts.url):
            return self._starts.url
        return position.session.resume_url

    def _extend_limit(self) -> None:
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + _ANSWER_S)

    async def _close(self) -> None:
        self.watched_until()
        self.connected = False
        websocket: DrainingWebSocket | None = self._host.websocket
        if websocket is None:
            return
        websocket.stop_heartbeats()
        if websocket.open:
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(_CLOSE_S):
                    await websocket.close(_KEEPS_SESSION)

    def _end(self, error: Exception) -> float:
        """Note why a connection ended, and return how long to wait before the next."""
        websocket = self._host.websocket
        self.trouble = reason = explain_end(error, websocket)
        poisoned = self._note_bad_frame(error, websocket)
        retry_after_s = error.retry_after_s if isinstance(error, RestError) else None
        attempts = max(self._failures, self._bad_frames.in_a_row)
        delay_s = backoff_s(attempts, retry_after_s, cap_s=CAP_S)
        self._failures += 1
        if self._session is None and self._identified:
            delay_s = self._refuse()
        elif self._session is not None and (poisoned or ends_session(error, websocket)):
            self._session = None
            delay_s = self._refuse() if self._is_short_lived() else random.uniform(*INVALIDATED_S)  # noqa: S311
        log.warning(
            "shard_disconnected",
            shard_id=self.id,
            reason=reason,
            next="RESUME" if self._session else "IDENTIFY",
            retry_s=round(delay_s, 1),
        )
        return delay_s

    def _note_bad_frame(self, error: Exception, websocket: DrainingWebSocket | None) -> bool:
        """Note whether the connection ended over a bad frame; return whether every RESUME will."""
        bad = find_bad_frame(error, websocket) is not None
        lasted_ms = 0 if self._connected_ms is None else self._clock() - self._connected_ms
        self._connected_ms = None
        self._bad_frames.end(bad=bad, lasted_s=lasted_ms / 1000)
        position = self.position
        # Before HELLO nothing is replayed: it is not the session's doing.
        if not bad or position is None or websocket is None or not websocket.greeted:
            return False
        if not self._bad_frames.stop_at(position.seq):
            return False
        log.error("session_given_up", shard_id=self.id, reason=self.trouble, attempts=ATTEMPTS)
        return True

    def _refuse(self) -> float:
        """Count an IDENTIFY that came to nothing, and return how long to wait before the next."""
        self._refusals += 1
        bound_s = min(REFUSED_CAP_S, REFUSED_S * 2.0 ** min(self._refusals, 16))
        return random.uniform(bound_s / 2, bound_s)  # noqa: S311  # not a secret

    def _is_short_lived(self) -> bool:
        if self._began_ms is not None and self._clock() - self._began_ms < SHORT_LIVED_S * 1000:
            return True
        self._refusals = 0
        return False

    def _say(self, trouble: str) -> None:
        self.trouble = trouble

    def _guard(self, name: str, take: Parser) -> Parser:
        def parse(payload: Payload) -> None:
            self._intake.source = self
            try:
                take(payload)
            except BadFrameError:
                raise
            except Exception:
                log.exception("payload_not_taken", type=name, guild_id=_guild_id(payload))
            # A later gap must not reach back before an event that was seen. During a replay that is unknown:
            # the event happened earlier, and more may be missing.
            if self.connected:
                self.seen_ms = self._clock()

        return parse

    def _on_ready(self, payload: Payload) -> None:
        """Take READY: a new session, to which nothing of the old one is replayed."""
        websocket = self._host.websocket
        if websocket is not None and websocket is self._ready_on:
            raise BadFrameError("a second READY")
        session_id, resume_url = parse_ready(payload)
        user = payload.get("user")
        bot_id = parse_id(user.get("id")) if isinstance(user, dict) else None
        self._ready_on = websocket
        self._session = Session(self.id, self.count, bot_id or self._bot_id, session_id, resume_url)
        guild_ids = {parse_id(guild.get("id")) for guild in parse_objects(payload, "guilds")}
        self._intake.session_began(
            lambda guild_id: shard_of(guild_id, self.count) == self.id,
            {guild_id for guild_id in guild_ids if guild_id is not None},
            since_ms=self.seen_ms,
        )
        self._began_ms = self._clock()
        self._starts.settle(self.id)
        self._connect()
        log.info("shard_ready", shard_id=self.id, guilds=len(guild_ids))

    def _on_resumed(self, payload: Payload) -> None:
        """Take RESUMED: everything missed has been replayed before it."""
        session_id = payload.get("session_id")
        if self._session is None or session_id not in (None, self._session.session_id):
            raise BadFrameError("a RESUMED of another session")
        self._connect()
        log.info("shard_resumed", shard_id=self.id)

    def _connect(self) -> None:
        self.connected = True
        self._failures = 0
        self.trouble = ""
        self.seen_ms = self._connected_ms = self._clock()


def _guild_id(payload: object) -> Any:
    return payload.get("guild_id") or payload.get("id") if isinstance(payload, dict) else None
