"""The remedy for a message that was not posted, which depends on who refused it: API Gateway or Discord."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from bot.api.executions import Execution
from bot.text import escape

# The task that posts fails with the status as its error and the answer's body as its cause; AWS spells the
# error in two ways.
# https://docs.aws.amazon.com/step-functions/latest/dg/connect-api-gateway.html
_REFUSED: Final = re.compile(r"(?:ApiGateway|APIGateway)\.(\d{3})")
_TIMED_OUT: Final = "TIMED_OUT"
# As `voice-relay deploy` takes them.
_NAME: Final = re.compile(r"[A-Za-z0-9]{1,16}")
_NAMELESS: Final = "NAME"

_UNKNOWN: Final = "the stack has no destination {0}: voice-relay deploy --destination {0}"
_UNKNOWN_OR_DENIED: Final = (
    "the stack has no destination {0} (voice-relay deploy --destination {0}), or the role of its workflow "
    "may not post there (voice-relay deploy repairs it)"
)
_GONE: Final = "the webhook is gone or was changed: voice-relay deploy --renew-webhook {0}"
_IMPOSSIBLE: Final = "the stack cannot have a destination {0}: names consist of up to 16 letters and digits"
_TIME_WAS_UP: Final = "its time was up; a workflow that posts waits for six hours while Discord throttles it"
_ONE_MACHINE: Final = (
    "single-machine mode has only the destination default, whose webhook is VOICE_RELAY_WEBHOOK_URL"
)

Body = Mapping[str, Any]


def _by_discord(body: Body) -> bool:
    # https://docs.discord.com/developers/reference#error-messages
    return "code" in body


def _by_api_gateway(message: str) -> Callable[[Body], bool]:
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
    return lambda body: body == {"message": message}


_REMEDIES: Final[tuple[tuple[frozenset[int], Callable[[Body], bool], str], ...]] = (
    (frozenset({404}), _by_api_gateway("Not Found"), _UNKNOWN),
    (frozenset({403}), _by_api_gateway("Forbidden"), _UNKNOWN_OR_DENIED),
    (frozenset({401, 403, 404}), _by_discord, _GONE),
)
"""The status, whose answer it is, and the remedy; the first match counts."""


def explain_refusal(found: Execution, *, deployed: bool = True) -> str | None:
    """Return the remedy for an execution whose message was not posted; ``None`` if none is known.

    In single-machine mode, where nothing is *deployed* to AWS, it is another.
    """
    if found.status == _TIMED_OUT:
        return _TIME_WAS_UP
    match = _REFUSED.fullmatch(found.error or "")
    if match is None:
        return None
    status, body = int(match[1]), _parse_object(found.cause or "")
    destination = _parse_object(found.input or "").get("destination")
    name = destination if isinstance(destination, str) else _NAMELESS
    for statuses, said, remedy in _REMEDIES:
        if status in statuses and said(body):
            if not deployed:
                return _ONE_MACHINE
            return (remedy if _NAME.fullmatch(name) else _IMPOSSIBLE).format(escape(name))
    return None


def _parse_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    # JSON nested deeper than Python's stack has nothing to say here either.
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
