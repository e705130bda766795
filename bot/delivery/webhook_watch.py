"""Watches the webhook that everything is posted to: single-machine mode has just one.

Discord is asked at the start, and then every five minutes, or after a failure with backoff. While it refuses
the webhook, the relay is not ready and events wait. That Discord cannot be asked proves nothing.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection
from typing import Final

import structlog

from bot.api.webhook import Webhook
from bot.backoff import backoff_s
from bot.errors import Rejected, TemporaryFailure, Unauthorized
from bot.settings.values import WEBHOOK_REMEDY

EVERY_S: Final = 300.0
"""Discord restricts those who keep asking for a webhook that is gone."""
_GUILDS_EVERY_S: Final = 1.0
_GUILDS_AWAITED_S: Final = 60.0
"""How long the servers of the bot may take to arrive once it is connected."""

_FOREIGN: Final = (
    "the bot is not in the webhook's server, so that people elsewhere read what happens here: check "
    "VOICE_RELAY_WEBHOOK_URL"
)

log = structlog.get_logger(__name__)


class WebhookWatch:
    """*ask* asks Discord; *guilds* returns the bot's guilds, ``None`` while they are unknown.

    Without *guilds* it is not said whether the bot is in the webhook's.
    ``trouble`` says why messages cannot be posted; ``None`` if nothing is known against it.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[Webhook]],
        *,
        guilds: Callable[[], Collection[str] | None] | None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._ask = ask
        self._guilds = guilds
        self._sleep = sleep
        self._random = random
        self._state = ""
        self._failures = 0
        self._judged: str | None = None
        self._asked = asyncio.Event()
        self.trouble: str | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            delay_s, guild_id = await self._look()
            self._asked.set()
            await self._judge(guild_id)
            await self._sleep(delay_s)

    async def admit(self) -> None:
        """Wait for Discord's first answer; raises Unauthorized while it refuses the webhook."""
        await self._asked.wait()
        if self.trouble is not None:
            raise Unauthorized(self.trouble, code="Webhook")

    async def _look(self) -> tuple[float, str | None]:
        """Ask once; return how long to wait before the next time, and the webhook's guild if it is known."""
        try:
            webhook = await self._ask()
        except Rejected as error:
            self._refused(error)
            return EVERY_S, None
        except TemporaryFailure as error:
            return self._unknown(error), None
        self._failures = 0
        self.trouble = None
        if self._change_state("found"):
            log.info("webhook_found", guild_id=webhook.guild_id)
        return EVERY_S, webhook.guild_id

    def _refused(self, error: Rejected) -> None:
        self._failures = 0
        self.trouble = f"Discord refuses the webhook: {error}; {WEBHOOK_REMEDY}"
        if self._change_state("refused"):
            log.error("webhook_refused", reason=str(error), next=WEBHOOK_REMEDY, retry_s=EVERY_S)

    def _unknown(self, error: TemporaryFailure) -> float:
        delay_s = min(
            EVERY_S, backoff_s(self._failures, error.retry_after_s, cap_s=EVERY_S, random=self._random)
        )
        self._failures += 1
        if self.trouble is None and self._change_state("unknown"):
            log.warning("webhook_not_checked", reason=str(error), next="events are sent all the same")
        # A webhook that was refused has not become valid because Discord cannot be reached.
        return delay_s if self.trouble is None else EVERY_S

    async def _judge(self, guild_id: str | None) -> None:
        """Warn, once for each guild, if the bot is not in the webhook's."""
        if self._guilds is None or guild_id is None or guild_id == self._judged:
            return
        connected_s = 0.0
        while connected_s < _GUILDS_AWAITED_S:
            guilds = self._guilds()
            if guilds is not None:
                if guild_id in guilds:
                    self._judged = guild_id
                    return
                connected_s += _GUILDS_EVERY_S
            await self._sleep(_GUILDS_EVERY_S)
        self._judged = guild_id
        log.warning("webhook_foreign", guild_id=guild_id, problem=_FOREIGN)

    def _change_state(self, state: str) -> bool:
        changed, self._state = state != self._state, state
        return changed
