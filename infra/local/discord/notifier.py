"""Waits for a condition without polling, and with a timeout."""

import asyncio
from collections.abc import Callable


class Notifier:
    """``notify`` after a change makes every waiter check its condition again."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()

    def notify(self) -> None:
        for event in self._waiting:
            event.set()

    async def wait_for(self, predicate: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait until *predicate* holds; after *timeout_s*, raise a ``TimeoutError`` that names *what*."""
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
