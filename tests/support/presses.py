"""Presses of buttons for tests: the frame that Discord sends, and a stand-in for the workflow's side."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from bot.api.signals import Answer, Decider, Outcome, Sender
from tests.support import ingress

TOKEN = "aW50ZXJhY3Rpb246MTox"
CARD = {
    "content": "Nelly waits",
    "components": [
        {
            "type": 1,
            "components": [
                {"type": 2, "style": 3, "label": "Admit", "custom_id": "signal:admit:01JD-x"},
                {"type": 2, "style": 4, "label": "Decline", "custom_id": "signal:decline:01JD-x"},
            ],
        }
    ],
}


def build_press(**changes: Any) -> dict[str, Any]:
    """Return the data of an INTERACTION_CREATE of a press on Admit."""
    return {
        "type": 3,
        "id": "938836230144036864",
        "application_id": "938836230144036865",
        "token": TOKEN,
        "data": {"component_type": 2, "custom_id": "signal:admit:01JD-x"},
        "member": {"user": {"id": "5"}, "roles": ["6", "7"], "permissions": "17825792"},
        "guild_id": "1",
        "channel_id": "2",
        "message": {"id": "3"},
        **changes,
    }


def build_answer(
    outcome: str,
    decision: Mapping[str, object] | None = None,
    *,
    after: Callable[[], Awaitable[object]] | None = None,
) -> ingress.Answer:
    """Return what a stub of the ingress API answers to a signal, *after* something has happened."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        assert request.path == "/executions/signal"
        if after is not None:
            await after()
        run = {
            "status": "SUCCEEDED",
            "output": orjson.dumps({"outcome": outcome, **(decision or {})}).decode(),
        }
        return web.Response(body=orjson.dumps(run), content_type="application/json")

    return answer


Script = Answer | Exception | Callable[[], Awaitable[object]]


class Waiting:
    """An execution that waits: the first signal decides, later ones hear of it; ``script`` comes first.

    ``sent`` has every signal that arrived.
    """

    def __init__(self, *, at_ms: int = 1_795_246_200_000) -> None:
        self.sent: list[tuple[str, str, Sender, Mapping[str, object]]] = []
        self.script: deque[Script] = deque()
        self.decided: Decider | None = None
        self.changed = asyncio.Event()
        self._at_ms = at_ms

    async def send(self, name: str, signal: str, *, by: Sender, data: Mapping[str, object]) -> Answer:
        self.sent.append((name, signal, by, data))
        self.changed.set()
        if self.script:
            answer = self.script.popleft()
            if isinstance(answer, Exception):
                raise answer
            if isinstance(answer, Answer):
                return answer
            await answer()
        if self.decided is not None:
            return Answer(Outcome.ALREADY_DECIDED, signal, self.decided, self._at_ms)
        self.decided = Decider(by.kind, by.id)
        return Answer(Outcome.SIGNALLED)
