"""Does one task: from its input to its output, or to the named error why not."""

import asyncio
from collections.abc import Collection
from typing import Any, Final

import orjson
import structlog

from bot.actions.asked import parse_asked
from bot.actions.catalogue import ACTIONS, Means, Output
from bot.actions.people import People
from bot.actions.refusal import (
    BAD_INPUT,
    FAILED,
    NOT_ALLOWED,
    UNAVAILABLE,
    UNKNOWN,
    ActionError,
)
from bot.actions.rest import Rest
from bot.api.quote import quote

ACTION_S: Final = 60.0
"""How long an action may last, waits included."""

log = structlog.get_logger(__name__)


class Performer:
    """Performs the *allowed* actions, and no other."""

    def __init__(self, rest: Rest, people: People, allowed: Collection[str]) -> None:
        self._rest = rest
        self._people = people
        self._allowed = frozenset(allowed)

    async def perform(self, text: str) -> Output:
        """Do what *text*, a task's input, asks for, and return its output; raises ActionError."""
        loop = asyncio.get_running_loop()
        since_s, told = loop.time(), {}
        try:
            given = _parse(text)
            told = {name: quote(str(given.get(name))) for name in ("action", "key")}
            output = await self._perform(given, since_s + ACTION_S)
        except ActionError as refusal:
            log.warning("action_refused", **told, error=refusal.name, reason=refusal.cause)
            raise
        except Exception as error:  # it must not end the worker
            log.error("action_broke", **told, exc_info=error)
            raise ActionError(FAILED, f"a fault of the bot's ({type(error).__name__}): see its log") from None
        log.info("action_done", **told, seconds=round(loop.time() - since_s, 1))
        return output

    async def _perform(self, given: dict[str, Any], until_s: float) -> Output:
        name = given.get("action")
        action = ACTIONS.get(name) if isinstance(name, str) else None
        if action is None:
            known = ", ".join(ACTIONS)
            raise ActionError(UNKNOWN, f"there is no action {quote(str(name))}; there are {known}")
        if name not in self._allowed:
            raise ActionError(NOT_ALLOWED, f"add {name} to the bot's VOICE_RELAY_ACTIONS to allow it")
        asked = parse_asked(action.asked, given)
        try:
            async with asyncio.timeout_at(until_s):
                return await action.perform(Means(self._rest, self._people, until_s), asked)
        except TimeoutError:
            raise ActionError(UNAVAILABLE, f"it was not done within {ACTION_S:.0f} s") from None


def _parse(text: str) -> dict[str, Any]:
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict):
        raise ActionError(BAD_INPUT, "the task's input is not a JSON object")
    return given
