"""The ARN of an execution: taken apart, or a sentence about what was given instead."""

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
_EXPRESS: Final = "is an Express execution's ARN: Step Functions keeps no record of those"
_MACHINE: Final = f"is a state machine's ARN: give one of its executions', like {EXAMPLE}"
_ANY: Final = f"is not the ARN of an execution: expected one like {EXAMPLE}"
_NAME_UNKNOWN: Final = (
    "is not an ARN, and the outbox here has no receipt of an execution with this name: give the whole ARN, "
    f"like {EXAMPLE}; for an event, `voice-relay trace EVENT_ID` shows it"
)
_OTHERS: Final = (
    (re.compile(r"arn:[^:]*:states:[^:]*:[^:]*:express:"), _EXPRESS),
    (re.compile(r"arn:[^:]*:states:[^:]*:[^:]*:stateMachine:"), _MACHINE),
    (re.compile(r"arn:"), _ANY),
    (re.compile(r""), _NAME_UNKNOWN),
)
"""What was given instead of an execution's ARN, and what is said about it; the first that fits."""
_ELSEWHERE: Final = (
    "the execution is in {}, but the API of VOICE_RELAY_API_ENDPOINT is in {}: give the endpoint of the "
    "stack that it belongs to"
)


class ExecutionArn(NamedTuple):
    """``text`` is the whole of it."""

    text: str
    region: str
    machine: str
    name: str


def parse_execution_arn(text: str, find: Callable[[str], str | None]) -> ExecutionArn:
    """Return the parts of the ARN *text*; of a name alone, those of the ARN that *find* returns for it.

    Raises SettingsError, with what is wrong and what is expected.
    """
    given = text.strip()
    found = (find(given) or "") if _NAME.fullmatch(given) else given
    match = _ARN.fullmatch(found)
    if match is None:
        problem = next(words for shape, words in _OTHERS if shape.match(found))
        raise SettingsError([f"'{escape(given[:_SHOWN_MAX_CHARS])}' {problem}"])
    return ExecutionArn(found, *match.groups())


def check_region(arn: ExecutionArn, region: str) -> None:
    """Raise SettingsError if the API, in *region*, cannot know of the execution."""
    if arn.region != region:
        raise SettingsError([_ELSEWHERE.format(arn.region, region)])
