"""The bot's connection to Discord: logs in, runs a supervisor for each shard, and says how they are.

Only the WebSocket of discord.py is used. Its client dispatches events as tasks, mutates voice states before
the handlers run, and fills a cache that nothing here reads. The frames go, in order, from the WebSocket to
the intake (``Shard.build_parsers``).

Discord's REST API is asked first: whose the token is and how many shards it advises decide which sessions on
disk may be resumed. But a session lives for minutes only, and the gateway may be up while the API is not. So
with sessions at hand a failure of the API, or some seconds without an answer, is enough to go on with them as
they are; the API is asked again when a shard needs to IDENTIFY. Were a session another bot's, Discord would
refuse the RESUME.
"""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Final, NamedTuple

import structlog

from bot.backoff import backoff_s
from bot.clock import Clock, system_clock
from bot.errors import SettingsError
from bot.gateway.intake import Intake
from bot.gateway.rest import DISCORD_API, Rest, RestError
from bot.gateway.resume_address import keep_trusted
from bot.gateway.session_starts import SessionStarts
from bot.gateway.shard import CAP_S, Shard
from bot.gateway.websocket import Host, Parser
from bot.outbox.session import Position
from bot.outbox.work import Watched
from bot.voice.payloads import shard_of

_RESUME_WITHIN_S: Final = 5.0
"""How long a RESUME waits for Discord's REST API."""

log = structlog.get_logger(__name__)


class _Plan(NamedTuple):
    """Who runs how many shards; ``bot_id`` and ``shards`` decide which sessions are resumed."""

    bot_id: str
    shards: int


class Gateway:
    """Watches Discord with all the shards of this process; *positions* is where an earlier one left them.

    Without *shard_count* it is the number that Discord advises, and without *shard_ids* it is all of them.
    *on_interaction* takes presses of buttons and other interactions, and must return at once.
    """

    def __init__(
        self,
        intake: Intake,
        *,
        api_url: str = DISCORD_API,
        shard_ids: Sequence[int] | None = None,
        shard_count: int | None = None,
        positions: Mapping[int, Position] | None = None,
        on_interaction: Parser | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._intake = intake
        self._api_url = api_url
        self._shard_ids = shard_ids
        self._shard_count = shard_count
        self._on_interaction = on_interaction
        self._positions = keep_trusted(positions or {}, api_url)
        self._clock = clock
        self._shards: list[Shard] = []
        self._trouble = "not connected to Discord yet"

    async def run(self, token: str) -> None:
        """Stay connected until cancelled; temporary failures are logged, and tried again with backoff.

        Raises SettingsError for a token that Discord refuses, and StartupError where it refuses the bot for
        good.
        """
        async with Rest(self._api_url, token.strip()) as rest:
            starts = SessionStarts(rest.get_gateway_bot)
            plan = await self._make_plan(rest, starts)
            self._shards = self._build_shards(rest, starts, plan)
            check = asyncio.create_task(self._check_interactions(rest))
            try:
                await _run_all(self._shards)
            finally:
                check.cancel()
                await asyncio.wait([check])

    @property
    def connected_shards(self) -> int:
        return sum(shard.connected for shard in self._shards)

    def hears(self, guild_id: str) -> bool:
        """Tell whether what happens in the guild arrives now, and all that was missed before has arrived."""
        return any(shard.connected for shard in self._shards if shard.id == shard_of(guild_id, shard.count))

    def not_ready(self) -> list[str]:
        """Return why not all shards are connected; empty while they are."""
        if not self._shards:
            return [self._trouble]
        down = sorted((shard for shard in self._shards if not shard.connected), key=lambda one: one.trouble)
        return [
            f"not connected to Discord: shard {', '.join(str(shard.id) for shard in shards)}: {trouble}"
            for trouble, shards in groupby(down, key=lambda shard: shard.trouble)
        ]

    def watched_until(self) -> Watched:
        """Return until when each shard of this process is known to have been watching."""
        until = {shard.id: shard.watched_until() for shard in self._shards}
        count = self._shards[0].count if self._shards else 1
        known = {shard_id: until_ms for shard_id, until_ms in until.items() if until_ms is not None}
        return Watched(count, known, frozenset(until))

    def positions(self) -> dict[int, Position]:
        """Return how far each shard's session has been taken in."""
        return {shard.id: position for shard in self._shards if (position := shard.position) is not None}

    async def _check_interactions(self, rest: Rest) -> None:
        """Warn where Discord sends presses of buttons past the gateway."""
        if self._on_interaction is None:
            return
        try:
            elsewhere = await rest.has_interactions_endpoint()
        except (RestError, SettingsError) as error:
            log.debug("application_not_checked", reason=str(error))
            return
        if elsewhere:
            log.warning(
                "interactions_go_elsewhere",
                reason="the application has an Interactions Endpoint URL, so presses of buttons do not come "
                "here: clear it on the page General Information of the developer portal",
            )

    async def _make_plan(self, rest: Rest, starts: SessionStarts) -> _Plan:
        """Ask Discord until it answers; with sessions to resume, once and for some seconds."""
        at_hand = self._find_plan()
        failures = 0
        while True:
            try:
                async with asyncio.timeout(None if at_hand is None else _RESUME_WITHIN_S):
                    bot_id = await rest.get_bot_id()
                    await starts.ask()
                return _Plan(bot_id, self._shard_count or starts.advised_shards)
            except TimeoutError:
                error = RestError("Discord does not answer in time")
            except RestError as failure:
                error = failure
            self._trouble = f"not connected to Discord yet: {error}"
            if at_hand is not None:
                log.warning("gateway_failed", reason=str(error), next="RESUME")
                return at_hand
            delay_s = backoff_s(failures, error.retry_after_s, cap_s=CAP_S)
            failures += 1
            log.warning("gateway_failed", reason=str(error), retry_s=round(delay_s, 1))
            await asyncio.sleep(delay_s)

    def _find_plan(self) -> _Plan | None:
        """Return what the sessions on disk were made with, ``None`` without any that may be resumed."""
        plans = {
            _Plan(position.session.bot_id, position.session.shard_count)
            for shard_id, position in self._positions.items()
            if self._shard_ids is None or shard_id in self._shard_ids
        }
        plans = {plan for plan in plans if self._shard_count in (None, plan.shards)}
        return plans.pop() if len(plans) == 1 else None

    def _build_shards(self, rest: Rest, starts: SessionStarts, plan: _Plan) -> list[Shard]:
        bot_id, count = plan
        shard_ids = self._shard_ids or range(count)
        log.info("gateway_found", shards=count, identifies_left=starts.remaining if starts.url else None)
        kept = {
            shard_id: position
            for shard_id, position in self._positions.items()
            if (position.session.shard_count, position.session.bot_id) == (count, bot_id)
            and shard_id in shard_ids
        }
        self._intake.begin(
            lambda guild_id: shard_of(guild_id, count) in kept,
            self._positions.keys() - kept.keys(),
            # Without SHARD_IDS every guild is this process's.
            None if self._shard_ids is None else lambda guild_id: shard_of(guild_id, count) in shard_ids,
        )

        def open_host(shard: Shard) -> Host:
            return Host(rest, count, shard.build_parsers(), shard.before_identify)

        return [
            Shard(
                shard_id,
                count,
                bot_id,
                self._intake,
                starts,
                open_host,
                on_interaction=self._on_interaction,
                position=kept.get(shard_id),
                clock=self._clock,
            )
            for shard_id in shard_ids
        ]


async def _run_all(shards: Sequence[Shard]) -> None:
    """Run the shards side by side; the first that ends ends them all."""
    tasks = [asyncio.create_task(shard.run(), name=f"shard-{shard.id}") for shard in shards]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
