"""For a dispatcher that is given no signals."""

from collections.abc import Mapping
from typing import Any

from bot.api.signals import Answer, Sender


async def no_signal(name: str, signal: str, *, by: Sender, data: Mapping[str, Any]) -> Answer:
    raise AssertionError(f"the signal {signal} to {name} by {by} was not to be sent: {data}")
