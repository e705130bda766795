"""What a response of the ingress API means: pure, and decided here alone.

API Gateway passes on a response of Step Functions unchanged. If it has an error code, which is the part of
``__type`` after ``#``, the code decides: a 400 may be throttling, or even success. A response without a code
comes from API Gateway or from something in between, and its status decides.

    ExecutionAlreadyExists           success: a name is never reused for other bytes
    2xx with what was asked for      success
    a code in _BY_CODE               the error listed there
    a status in _BY_STATUS           the error listed there
    anything else                    TemporaryFailure

What a response says is quoted only after ``quote`` has cleaned it.

A TemporaryFailure says whether the request may have been accepted all the same: a recognised code with a 4xx
status, and the statuses in _NOT_ACCEPTED, exclude it; every other response leaves it open.
"""

# https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import orjson

from bot.api.quote import quote
from bot.errors import DeliveryError, Rejected, TemporaryFailure, Unauthorized

CLOCK_SKEW_MAX_S: Final = 300.0
"""AWS refuses a signature whose time is further off its own clock."""

_BY_CODE: Final[Mapping[str, type[DeliveryError]]] = {
    "ThrottlingException": TemporaryFailure,
    "TooManyRequestsException": TemporaryFailure,
    "ExecutionLimitExceeded": TemporaryFailure,
    "ServiceUnavailable": TemporaryFailure,
    "ServiceUnavailableException": TemporaryFailure,
    "InternalFailure": TemporaryFailure,
    "InternalServerError": TemporaryFailure,
    "InternalServerException": TemporaryFailure,
    "KmsThrottlingException": TemporaryFailure,
    # The deployment is at fault, not the batch.
    "StateMachineDoesNotExist": TemporaryFailure,
    "StateMachineDeleting": TemporaryFailure,
    "KmsAccessDeniedException": Unauthorized,
    "KmsInvalidStateException": Unauthorized,
    "AccessDeniedException": Unauthorized,
    "UnrecognizedClientException": Unauthorized,
    "ExpiredTokenException": Unauthorized,
    "InvalidSignatureException": Unauthorized,
    "MissingAuthenticationTokenException": Unauthorized,
    "IncompleteSignatureException": Unauthorized,
    "InvalidExecutionInput": Rejected,
    "InvalidName": Rejected,
    "InvalidArn": Rejected,
    "ExecutionDoesNotExist": Rejected,
    "TaskDoesNotExist": Rejected,
    "TaskTimedOut": Rejected,
    "InvalidToken": Rejected,
    "InvalidOutput": Rejected,
    "ValidationException": Rejected,
    "SerializationException": Rejected,
}
_BY_STATUS: Final[Mapping[int, type[DeliveryError]]] = {
    401: Unauthorized,
    403: Unauthorized,
    413: Rejected,
    422: Rejected,
    431: Rejected,
}
"""Not listed, and so temporary: 404 and 405 (the route is not deployed), and 3xx and 400: without a code they
come from something in between, or from a mistake in the deployment."""
_NOT_ACCEPTED: Final = frozenset({404, 405, 429})

RETRY_AFTER_MAX_S: Final = 900.0
"""However long a response asks to be left alone."""

_ARN: Final = re.compile(r"arn:[a-z-]+:states:[\w:.-]{1,400}", re.ASCII)
_CODE_MAX_CHARS: Final = 100
_BOT_POLICY: Final = "bot policy"


def parse_start(
    status: int, headers: Mapping[str, str], body: bytes, now: datetime, secrets: Sequence[str] = ()
) -> str:
    """Return the ARN of the execution that was started, or raise the DeliveryError.

    If the execution exists already, its ARN is taken from the message; empty if there is none. *secrets*
    are those of the request, which the response may repeat.
    """
    answer = _parse_object(body)
    if _code(answer) == "ExecutionAlreadyExists":
        found = _ARN.search(_message(answer))
        return quote_arn(found.group(), secrets) if found else ""
    if 200 <= status < 300 and isinstance(answer.get("executionArn"), str):
        return quote_arn(answer["executionArn"], secrets)
    raise _error(status, headers, answer, now, secrets)


def parse_response(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
    secrets: Sequence[str] = (),
    *,
    policy: str = _BOT_POLICY,
) -> dict[str, Any]:
    """Return the response to any other request, a JSON object, or raise the DeliveryError.

    *policy* names the one that the request needs, for the error message.
    """
    answer = _parse_object(body)
    if 200 <= status < 300 and answer:
        return answer
    raise _error(status, headers, answer, now, secrets, policy)


def _error(
    status: int,
    headers: Mapping[str, str],
    answer: Mapping[str, Any],
    now: datetime,
    secrets: Sequence[str],
    policy: str = _BOT_POLICY,
) -> DeliveryError:
    code = quote(_code(answer), secrets, max_chars=_CODE_MAX_CHARS)
    message = quote(_message(answer), secrets)
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status, TemporaryFailure)
    text = f"the API answered {status}" + (f" {code}" if code else "") + (f": {message}" if message else "")
    if kind is TemporaryFailure:
        return TemporaryFailure(
            text,
            status=status,
            code=code,
            retry_after_s=parse_retry_after(headers.get("Retry-After"), now),
            outcome_unknown=not (status in _NOT_ACCEPTED or (code in _BY_CODE and 400 <= status < 500)),
        )
    if kind is Unauthorized:
        text += _explain_refusal(headers.get("Date"), now, policy)
    return kind(text, status=status, code=code)


def quote_arn(text: str, secrets: Sequence[str]) -> str:
    """Return an ARN as it is, unless one of *secrets* is in it; anything else is quoted."""
    if _ARN.fullmatch(text) and not any(secret in text for secret in secrets):
        return text
    return quote(text, secrets)


def _code(answer: Mapping[str, Any]) -> str:
    return str(answer.get("__type", "")).rpartition("#")[2]


def _message(answer: Mapping[str, Any]) -> str:
    return str(answer.get("message") or answer.get("Message") or "")


def _parse_object(body: bytes) -> dict[str, Any]:
    """Return *body* as a JSON object; empty if it is something else."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds of a Retry-After header, at most RETRY_AFTER_MAX_S; it holds seconds or a date."""
    if value is None:
        return None
    if value.strip().isdecimal():
        seconds = float(value)
    elif (when := _parse_date(value)) is not None:
        seconds = max(0.0, (when - now).total_seconds())
    else:
        return None
    return min(seconds, RETRY_AFTER_MAX_S)


def _explain_refusal(date: str | None, now: datetime, policy: str) -> str:
    """Return likely causes: an HTTP API states none, but its Date header reveals a wrong clock here."""
    when = _parse_date(date) if date else None
    if when is not None and abs((now - when).total_seconds()) > CLOCK_SKEW_MAX_S:
        off_s = (now - when).total_seconds()
        side = "ahead of" if off_s > 0 else "behind"
        return (
            f"; this machine's clock is {abs(off_s):.0f} s {side} the API's: "
            "correct it (NTP), because signatures expire after five minutes"
        )
    return (
        f"; check that the credentials have the stack's {policy} and that their key was not deleted or "
        "rotated, that VOICE_RELAY_API_ENDPOINT and VOICE_RELAY_AWS_REGION are the stack's, and that its "
        "AllowedCidrs include this machine's address"
    )


def _parse_date(value: str) -> datetime | None:
    """Return the date of a header; ``None`` for anything else."""
    try:
        when = parsedate_to_datetime(value)
    except Exception:  # noqa: BLE001  # numbers out of range make it raise more than ValueError
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
