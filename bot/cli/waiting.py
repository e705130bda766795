"""Waiting for an execution to end: what is printed meanwhile, and at Ctrl-C."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from bot.api.executions import Execution
from bot.clock import system_clock
from bot.errors import DeliveryError
from bot.text import escape, render_moment

ASK_AGAIN: Final = "to ask again: voice-relay status --wait {}"

Hint = Callable[[str], object]


def hint_failures(hint: Hint) -> Callable[[DeliveryError], None]:
    """Return a function that reports each failure that differs from the one before."""
    last = ""

    def on_failure(error: DeliveryError) -> None:
        nonlocal last
        if str(error) != last:
            last = str(error)
            hint(f"{last}; asking again")

    return on_failure


def hint_running(
    describe: Callable[[], Awaitable[Execution]], hint: Hint
) -> Callable[[], Awaitable[Execution]]:
    """Return *describe* with a hint, the first time that the execution has not ended, since when it runs."""
    hinted = False

    async def look() -> Execution:
        nonlocal hinted
        found = await describe()
        if not (found.ended or hinted):
            hinted = True
            since = render_moment(found.started_ms, system_clock())
            hint(f"{escape(found.name)} is {escape(found.status)}, started {since}; waiting for it to end")
        return found

    return look


@contextmanager
def waiting_for(arn: str) -> Iterator[None]:
    """Turn Ctrl-C into a KeyboardInterrupt that says how to resume waiting: the execution continues."""
    try:
        yield
    # asyncio delivers Ctrl-C as a cancellation.
    # https://docs.python.org/3/library/asyncio-runner.html#handling-keyboard-interruption
    except asyncio.CancelledError:
        raise KeyboardInterrupt(f"the execution continues; {ASK_AGAIN.format(arn)}") from None
