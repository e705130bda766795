"""What a response of the ingress API means: this module alone decides.

Step Functions' answer comes through API Gateway as it is, so the service's own error name, the part of
``__type`` after ``#``, decides where there is one: a 400 can be throttling, or a success. The status decides
the rest, which is API Gateway's own doing or that of something on the way.
"""

# https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from bot.errors import DeliveryError, Rejected, TemporaryFailure, Unauthorized

CLOCK_SKEW_MAX_S = 300.0
"""A signature is refused that is further off the service's clock."""

_CODES: dict[str, type[DeliveryError]] = {
    "ThrottlingException": TemporaryFailure,
    "TooManyRequestsException": TemporaryFailure,
    "ExecutionLimitExceeded": TemporaryFailure,
    "ServiceUnavailable": TemporaryFailure,
    "ServiceUnavailableException": TemporaryFailure,
    "InternalFailure": TemporaryFailure,
    "InternalServerError": TemporaryFailure,
    "InternalServerException": TemporaryFailure,
    "KmsThrottlingException": TemporaryFailure,
    # A deployment that is missing or on its way out is no fault of the batch.
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
    "ValidationException": Rejected,
    "SerializationException": Rejected,
}
_STATUSES: dict[int, type[DeliveryError]] = {
    400: Rejected,
    401: Unauthorized,
    403: Unauthorized,
    413: Rejected,
    422: Rejected,
    431: Rejected,
}
"""Every other status may pass: 404 and 405 are a route that is not deployed, 3xx and the rest not ours."""

_ARN = re.compile(r"arn:[a-z-]+:states:[^'\"\s]+")
_MESSAGE_MAX_CHARS = 200
_BOT_POLICY = "bot policy"


def parse_response(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """Return the ARN of the execution that was started, or raise the DeliveryError that it amounts to.

    An execution of that name that exists already is a success: names are never used for other bytes. Its ARN
    is in the message; should it ever not be, the result is empty.
    """
    answer = _parse_object(body)
    if _code(answer) == "ExecutionAlreadyExists":
        found = _ARN.search(_message(answer))
        return found.group() if found else ""
    if 200 <= status < 300 and isinstance(answer.get("executionArn"), str):
        return str(answer["executionArn"])
    raise _failure(status, headers, answer, now)


def parse_answer(
    status: int, headers: Mapping[str, str], body: bytes, now: datetime, *, policy: str = _BOT_POLICY
) -> dict[str, Any]:
    """Return what the service answered to another request, or raise the DeliveryError that it amounts to.

    *policy* is the one that the request needs, as a person knows it.
    """
    answer = _parse_object(body)
    if 200 <= status < 300 and answer:
        return answer
    raise _failure(status, headers, answer, now, policy)


def _failure(
    status: int,
    headers: Mapping[str, str],
    answer: Mapping[str, Any],
    now: datetime,
    policy: str = _BOT_POLICY,
) -> DeliveryError:
    code, message = _code(answer), _message(answer)
    kind = _CODES.get(code) or _STATUSES.get(status, TemporaryFailure)
    text = f"the API answered {status}" + (f" {code}" if code else "") + (f": {message}" if message else "")
    if kind is TemporaryFailure:
        retry_after_s = _parse_retry_after(headers.get("Retry-After"), now)
        return TemporaryFailure(text, status=status, code=code, retry_after_s=retry_after_s)
    if kind is Unauthorized:
        text += _explain_refusal(headers.get("Date"), now, policy)
    return kind(text, status=status, code=code)


def _code(answer: Mapping[str, Any]) -> str:
    return str(answer.get("__type", "")).rpartition("#")[2]


def _message(answer: Mapping[str, Any]) -> str:
    return str(answer.get("message") or answer.get("Message") or "")[:_MESSAGE_MAX_CHARS]


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, in either of its forms."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    when = _parse_date(value)
    return None if when is None else max(0.0, (when - now).total_seconds())


def _explain_refusal(date: str | None, now: datetime, policy: str) -> str:
    """Say what may be wrong; an HTTP API gives no reason, but its clock tells one."""
    when = _parse_date(date) if date else None
    if when is not None and abs((now - when).total_seconds()) > CLOCK_SKEW_MAX_S:
        off_s = (now - when).total_seconds()
        side = "ahead of" if off_s > 0 else "behind"
        return (
            f"; this machine's clock is {abs(off_s):.0f} s {side} the API's: "
            "set it right (NTP), signatures expire after five minutes"
        )
    return (
        f"; check that the credentials belong to a principal with the stack's {policy}, that "
        "VOICE_RELAY_API_ENDPOINT and VOICE_RELAY_AWS_REGION are those of the stack, and that this machine's "
        "address is in its AllowedCidrs; or the key was deleted or rotated"
    )


def _parse_date(value: str) -> datetime | None:
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
