"""What the routes under ``/executions`` answer: pure.

The answer about an execution is wrapped twice. API Gateway returns what StartSyncExecution reports about the
run of the Express workflow ``status``; that run's output, JSON in a string, describes the execution.
"""

# https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartSyncExecution.html

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from bot.api.quote import clean, quote
from bot.api.responses import parse_response, quote_arn
from bot.errors import DeliveryError, Rejected, TemporaryFailure

RUNNING: Final = frozenset({"RUNNING", "PENDING_REDRIVE"})
SUCCEEDED: Final = "SUCCEEDED"
NOT_FOUND: Final = "ExecutionNotFound"
"""The code of the error for an execution that Step Functions does not know, or not yet."""

_OPERATOR_POLICY: Final = (
    "operator policy (output OperatorPolicyArn; the bot's own user does not have it, so set AWS_PROFILE or "
    "AWS's other variables to a principal that does)"
)
_NO_ROUTE: Final = (
    "the API has no route POST {path}: its stack is older than this voice-relay (update it with "
    "`voice-relay deploy`), or VOICE_RELAY_API_ENDPOINT is not the stack's ApiEndpoint"
)
_UNEXPECTED: Final = "the API's answer is not as expected: upgrade so that the stack and voice-relay match"
_UNKNOWN: Final = "no such execution: it was never started, or it ended more than 90 days ago"
_NOT_READABLE: Final = "the stack has no access to it: it is not an execution of the stack's workflows"
_NOT_STOPPABLE: Final = "the stack cannot stop it: it is not an execution of the stack's workflows"
_TOO_LARGE: Final = "the execution's input and output are too large to show together"

_BY_CODE: Final = {NOT_FOUND: _UNKNOWN, "States.DataLimitExceeded": _TOO_LARGE}
_DENIED: Final = ("not authorized", "AccessDenied")
_PERMANENT: Final = frozenset({"States.Runtime", "States.QueryEvaluationError"})
_CAUSE_MAX_CHARS: Final = 500
_TEXTS_MAX_CHARS: Final = {"input": 1 << 20, "output": 1 << 20, "error": 256, "cause": 32_768}
"""What Step Functions allows, and more for the escapes in input and output."""
_PARSE_ERRORS: Final = (KeyError, TypeError, ValueError, OverflowError, OSError)

_STOP_BY_CODE: Final = {"ExecutionDoesNotExist": _UNKNOWN, "AccessDeniedException": _NOT_STOPPABLE}
"""Step Functions denies the stack's own role here, not the caller, so this is no Unauthorized."""


@dataclass(frozen=True, slots=True)
class Execution:
    """An execution as DescribeExecution shows it: ``input`` and ``output`` are JSON, times are AWS's."""

    arn: str
    name: str
    status: str
    started_ms: int
    ended_ms: int | None
    input: str | None
    output: str | None
    error: str | None
    cause: str | None

    @property
    def ended(self) -> bool:
        return self.status not in RUNNING


def parse_status(
    status: int, headers: Mapping[str, str], body: bytes, now: datetime, secrets: Sequence[str] = ()
) -> Execution:
    """Return the execution, or raise a DeliveryError."""
    run = parse_response(status, headers, body, now, secrets)
    if run.get("status") != SUCCEEDED:
        raise _explain_run(run, secrets)
    try:
        return _parse_execution(orjson.loads(run["output"]), secrets)
    except _PARSE_ERRORS:
        raise Rejected(_UNEXPECTED, status=status) from None


def parse_stop(
    status: int, headers: Mapping[str, str], body: bytes, now: datetime, secrets: Sequence[str] = ()
) -> int:
    """Return when the execution ended, in ms, or raise a DeliveryError."""
    try:
        answer = parse_response(status, headers, body, now, secrets, policy=_OPERATOR_POLICY)
        return _parse_date(answer["stopDate"])
    except DeliveryError as error:
        text = _STOP_BY_CODE.get(error.code)
        if text is None:
            raise
        raise Rejected(text, status=error.status, code=error.code) from None
    except _PARSE_ERRORS:
        raise Rejected(_UNEXPECTED, status=status) from None


def explain_missing_route(path: str) -> Rejected:
    """Return the error for a 404: asking again cannot help before a deployment."""
    return Rejected(_NO_ROUTE.format(path=path), status=404)


def _explain_run(run: Mapping[str, Any], secrets: Sequence[str]) -> DeliveryError:
    """Return why the run of ``status`` did not succeed."""
    code = quote(str(run.get("error") or run.get("status") or ""), secrets)
    cause = quote(str(run.get("cause") or ""), secrets, max_chars=_CAUSE_MAX_CHARS)
    if code in _BY_CODE:
        return Rejected(_BY_CODE[code], code=code)
    if any(words in cause for words in _DENIED):
        return Rejected(_NOT_READABLE, code=code)
    kind = Rejected if code in _PERMANENT else TemporaryFailure
    return kind(
        f"the stack failed to describe the execution: {code}" + (f": {cause}" if cause else ""), code=code
    )


def _parse_execution(fields: Any, secrets: Sequence[str]) -> Execution:
    """Return the execution, its texts cleaned; raises one of ``_PARSE_ERRORS``."""
    if not isinstance(fields, dict):
        raise TypeError(fields)
    texts = {name: fields.get(name) for name in _TEXTS_MAX_CHARS}
    for name, text in texts.items():
        if not isinstance(text, str | None):
            raise TypeError(text)
        texts[name] = None if text is None else clean(text, secrets, max_chars=_TEXTS_MAX_CHARS[name])
    ended = fields.get("stopDate")
    return Execution(
        arn=quote_arn(str(fields["executionArn"]), secrets),
        name=quote(str(fields["name"]), secrets),
        status=quote(str(fields["status"]), secrets),
        started_ms=_parse_date(fields["startDate"]),
        ended_ms=None if ended is None else _parse_date(ended),
        **texts,
    )


def _parse_date(value: object) -> int:
    """Return milliseconds since 1970; AWS writes seconds since 1970, or ISO 8601."""
    if isinstance(value, str):
        when = datetime.fromisoformat(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        when = datetime.fromtimestamp(value, UTC)
    else:
        raise TypeError(value)
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
