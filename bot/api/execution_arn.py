"""The ARN of an execution: parsed, or explained if it is something else. Pure."""

# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsstepfunctions.html

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from bot.errors import SettingsError
from bot.text import escape

EXAMPLE: Final = "arn:aws:states:eu-central-1:123456789012:execution:voice-relay-notify:…"

_ARN: Final = re.compile(r"arn:aws[a-z-]*:states:([a-z0-9-]+):\d{12}:execution:([^\s:]+):([^\s:]+)")
_NAME: Final = re.compile(r"[^\s:/]{1,80}")
_SHOWN_MAX_CHARS: Final = 200
_EXPRESS: Final = "is the ARN of an Express execution, and Step Functions keeps no record of those"
_MACHINE: Final = f"is the ARN of a state machine: give the ARN of an execution, like {EXAMPLE}"
_OTHER: Final = f"is not the ARN of an execution: give one like {EXAMPLE}"
_NAME_UNKNOWN: Final = (
    "is not an ARN, and this outbox has no receipt of an execution with that name: give the whole ARN, like "
    f"{EXAMPLE}; `voice-relay trace EVENT_ID` shows an event's"
)
_PROBLEMS: Final = (
    (re.compile(r"arn:[^:]*:states:[^:]*:[^:]*:express:"), _EXPRESS),
    (re.compile(r"arn:[^:]*:states:[^:]*:[^:]*:stateMachine:"), _MACHINE),
    (re.compile(r"arn:"), _OTHER),
    (re.compile(r""), _NAME_UNKNOWN),
)
"""What a text that is no execution's ARN is instead; the first match counts."""
_OTHER_REGION: Final = (
    "the execution is in {}, but the API of VOICE_RELAY_API_ENDPOINT is in {}: set the endpoint of the "
    "execution's stack"
)


class ExecutionArn(NamedTuple):
    """``text`` is the whole ARN, ``machine`` the state machine's name."""

    text: str
    region: str
    machine: str
    name: str


def parse_execution_arn(text: str, find: Callable[[str], str | None]) -> ExecutionArn:
    """Parse an execution's ARN, or its name, whose ARN *find* returns; raises SettingsError."""
    given = text.strip()
    found = (find(given) or "") if _NAME.fullmatch(given) else given
    match = _ARN.fullmatch(found)
    if match is None:
        problem = next(problem for pattern, problem in _PROBLEMS if pattern.match(found))
        raise SettingsError([f"'{escape(given[:_SHOWN_MAX_CHARS])}' {problem}"])
    return ExecutionArn(found, *match.groups())


def check_region(arn: ExecutionArn, region: str) -> None:
    """Raise SettingsError unless the execution is in *region*, where the API is."""
    if arn.region != region:
        raise SettingsError([_OTHER_REGION.format(arn.region, region)])
