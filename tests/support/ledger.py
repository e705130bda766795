"""An ingress API that keeps a ledger of every attempt, can be down, and can lose its own answers."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.support.ingress import StubIngress


class Ledger(StubIngress):
    """``attempts`` has the bodies sent under each name; ``down`` answers 503 to all of them.

    With *dice*, now and then an execution is started and its answer lost, or an answer is a 503.
    """

    def __init__(self, *, latency_s: float = 0.0, dice: random.Random | None = None) -> None:
        super().__init__(latency_s=latency_s)
        self.attempts: dict[str, list[bytes]] = defaultdict(list)
        self.down = False
        self._mishap_dice = dice

    def accept(self, name: str, body: bytes) -> web.Response:
        self.attempts[name].append(body)
        self.changed.set()
        number = 1.0 if self._mishap_dice is None else self._mishap_dice.random()
        if self.down or number < 0.02:
            return web.json_response({"message": "Service Unavailable"}, status=503)
        answer = super().accept(name, body)
        # The execution runs, but the caller gets a 504.
        return answer if number > 0.06 else web.json_response({"message": "Endpoint timed out"}, status=504)

    def signal(self, asked: dict[str, Any]) -> web.Response:
        number = 1.0 if self._mishap_dice is None else self._mishap_dice.random()
        if self.down or number < 0.02:
            return web.json_response({"message": "Service Unavailable"}, status=503)
        answer = super().signal(asked)
        return answer if number > 0.06 else web.json_response({"message": "Endpoint timed out"}, status=504)

    async def wait_until(self, condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Wait until *condition* holds; it is checked at every request."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    @property
    def attempt_count(self) -> int:
        return sum(map(len, self.attempts.values()))

    async def wait_for_attempts(self, count: int) -> None:
        await self.wait_until(lambda: self.attempt_count >= count)

    def check(self) -> None:
        """Check that a name has the same bytes at every attempt, and that no event is in two executions."""
        for name, bodies in self.attempts.items():
            assert len(set(bodies)) == 1, f"{name} was sent with different bytes"
        ids = [event["id"] for event in self.events()]
        assert len(ids) == len(set(ids))
