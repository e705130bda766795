"""The bot's connection to Discord: logs in, runs a supervisor for each shard, and says how they are.

Only the WebSocket and the REST client of discord.py are used. Its client dispatches events as tasks, mutates
voice states before the handlers run, and fills a cache that nothing here reads. The frames go, in order, from
the WebSocket to the intake (``Shard.build_parsers``).
"""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import groupby

import structlog
from discord.http import HTTPClient, Route

from bot.backoff import backoff_s
from bot.clock import Clock, system_clock
from bot.gateway.intake import Intake
from bot.gateway.refusals import NotDiscordError, explain_failure, find_fatal
from bot.gateway.session_starts import SessionStarts
from bot.gateway.shard import CAP_S, Shard
from bot.gateway.websocket import Host
from bot.outbox.session import Position
from bot.voice.payloads import shard_of

log = structlog.get_logger(__name__)


class Gateway:
    """Watches Discord with all the shards of this process; *positions* is where an earlier one left them.

    Without *shard_count* it is the number that Discord advises, and without *shard_ids* it is all of them.
    """

    def __init__(
        self,
        intake: Intake,
        *,
        shard_ids: Sequence[int] | None = None,
        shard_count: int | None = None,
        positions: Mapping[int, Position] | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._intake = intake
        self._shard_ids = shard_ids
        self._shard_count = shard_count
        self._positions = positions or {}
        self._clock = clock
        self._shards: list[Shard] = []
        self._trouble = "not connected to Discord yet"

    async def run(self, token: str) -> None:
        """Stay connected until cancelled; temporary failures are logged, and tried again with backoff.

        Raises SettingsError for a token that Discord refuses, and StartupError where it refuses the bot for
        good.
        """
        http, starts, bot_id = await self._log_in(token)
        try:
            self._shards = self._build_shards(http, starts, bot_id)
            await _run_all(self._shards)
        finally:
            await http.close()

    @property
    def connected_shards(self) -> int:
        return sum(shard.connected for shard in self._shards)

    def not_ready(self) -> list[str]:
        """Return why not all shards are connected; empty while they are."""
        if not self._shards:
            return [self._trouble]
        down = sorted((shard for shard in self._shards if not shard.connected), key=lambda one: one.trouble)
        return [
            f"not connected to Discord: shard {', '.join(str(shard.id) for shard in shards)}: {trouble}"
            for trouble, shards in groupby(down, key=lambda shard: shard.trouble)
        ]

    def watched_until(self) -> tuple[int, dict[int, int]]:
        """Return the number of shards, and until when each of this process is known to have been watching."""
        until = {shard.id: shard.watched_until() for shard in self._shards}
        count = self._shards[0].count if self._shards else 1
        return count, {shard_id: until_ms for shard_id, until_ms in until.items() if until_ms is not None}

    def positions(self) -> dict[int, Position]:
        """Return how far each shard's session has been taken in."""
        return {shard.id: position for shard in self._shards if (position := shard.position) is not None}

    async def _log_in(self, token: str) -> tuple[HTTPClient, SessionStarts, str]:
        """Make sure of the token, and learn where the gateway is and how many shards it advises."""
        failures = 0
        while True:
            http = HTTPClient(asyncio.get_running_loop())
            try:
                return await _log_in(http, token)
            except Exception as error:  # noqa: BLE001  # discord.py raises what a strange answer makes it
                await http.close()
                fatal = find_fatal(error)
                if fatal is not None:
                    raise fatal from None
                reason = explain_failure(error)
            except asyncio.CancelledError:
                await http.close()
                raise
            self._trouble = f"not connected to Discord yet: {reason}"
            delay_s = backoff_s(failures, cap_s=CAP_S)
            failures += 1
            log.warning("gateway_failed", reason=reason, retry_s=round(delay_s, 1))
            await asyncio.sleep(delay_s)

    def _build_shards(self, http: HTTPClient, starts: SessionStarts, bot_id: str) -> list[Shard]:
        count = self._shard_count or starts.advised_shards
        shard_ids = self._shard_ids or range(count)
        log.info("gateway_found", shards=count, identifies_left=starts.remaining)
        kept = {
            shard_id: position
            for shard_id, position in self._positions.items()
            if (position.session.shard_count, position.session.bot_id) == (count, bot_id)
            and shard_id in shard_ids
        }
        self._intake.begin(
            lambda guild_id: shard_of(guild_id, count) in kept,
            self._positions.keys() - kept.keys(),
        )

        def open_host(shard: Shard) -> Host:
            return Host(http, count, shard.build_parsers(), shard.before_identify)

        return [
            Shard(
                shard_id,
                count,
                bot_id,
                self._intake,
                starts,
                open_host,
                position=kept.get(shard_id),
                clock=self._clock,
            )
            for shard_id in shard_ids
        ]


async def _log_in(http: HTTPClient, token: str) -> tuple[HTTPClient, SessionStarts, str]:
    try:
        user = await http.static_login(token.strip())
        starts = SessionStarts(http.get_bot_gateway)
        await starts.ask()
        return http, starts, str(user["id"])
    except (KeyError, TypeError, ValueError):
        # A proxy's or a web server's page, say.
        raise NotDiscordError from None


async def _run_all(shards: Sequence[Shard]) -> None:
    """Run the shards side by side; the first that ends ends them all."""
    tasks = [asyncio.create_task(shard.run(), name=f"shard-{shard.id}") for shard in shards]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def use_api(url: str) -> None:
    """Point discord.py at the REST API at *url*; the gateway's address comes from there."""
    Route.BASE = url
