"""The event loop that commands run on."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


def run_async(body: Coroutine[Any, Any, _T]) -> _T:
    """Run *body* on uvloop where it is installed."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.run(body)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(body)
