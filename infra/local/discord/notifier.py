"""Waiting for something to become true, without polling and never for ever."""

import asyncio
from collections.abc import Callable


class Notifier:
    """Whoever changes something rings; whoever waits looks again."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()

    def notify(self) -> None:
        for event in self._waiting:
            event.set()

    async def wait_for(self, predicate: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Return once *predicate* holds; ``TimeoutError`` names *what* has not happened in *timeout_s*."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            async with asyncio.timeout(timeout_s):
                while not predicate():
                    event.clear()
                    await event.wait()
        except TimeoutError:
            raise TimeoutError(f"{what}: not within {timeout_s} s") from None
        finally:
            self._waiting.discard(event)
