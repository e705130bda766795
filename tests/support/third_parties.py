"""The stand-in for a third party on a thread of its own, for tests that block."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from infra.local.third_party import ThirdParty

_TIMEOUT_S = 10.0


class ThreadedThirdParty(ThirdParty):
    """The stand-in, which can be stopped and restarted; its other methods only change data."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop

    def restart(self) -> None:
        asyncio.run_coroutine_threadsafe(self.__aenter__(), self._loop).result(_TIMEOUT_S)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.__aexit__(), self._loop).result(_TIMEOUT_S)


@contextmanager
def third_party() -> Iterator[ThreadedThirdParty]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    party = ThreadedThirdParty(loop)
    party.restart()
    try:
        yield party
    finally:
        party.stop()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
