"""What a button carries, from the action that sends it to the press: a signal, and the execution that waits.

    signal:admit:01JD0000000000000000000000

Discord hands it back with the press, so a bot that restarts needs to remember nothing. It grants nothing:
who may send the signal is decided where the execution has written it down.
"""

# https://docs.discord.com/developers/components/reference#custom-id

import re
from typing import Final, NamedTuple

CUSTOM_ID_MAX_CHARS: Final = 100
SIGNAL: Final = r"[a-z][a-z0-9_-]{0,31}"
_BUTTON: Final = re.compile(rf"signal:(?P<signal>{SIGNAL}):(?P<execution>[!-9;-~]{{1,80}})")
"""The names of executions here are of letters, digits and hyphens; AWS allows more, but no blanks."""


class Button(NamedTuple):
    """What a press means."""

    signal: str
    execution: str


def build_button(signal: str, execution: str) -> str:
    """Return the ``custom_id``; raises ValueError if it would be too long or could not be read."""
    custom_id = f"signal:{signal}:{execution}"
    if parse_button(custom_id) != (signal, execution):
        raise ValueError("a button needs a signal like admit, and the name of an execution in its key")
    if len(custom_id) > CUSTOM_ID_MAX_CHARS:
        room = CUSTOM_ID_MAX_CHARS - len(custom_id) + len(signal)
        raise ValueError(f"the signal has {len(signal)} characters, and there is room for {room}")
    return custom_id


def parse_button(custom_id: str) -> Button | None:
    """Return what a press means; ``None`` for a button of somebody else's."""
    found = _BUTTON.fullmatch(custom_id)
    return Button(found["signal"], found["execution"]) if found else None
