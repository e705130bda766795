"""What ``POST /executions/signal`` answers: pure.

The answer is wrapped as that about an execution is: API Gateway returns what StartSyncExecution reports about
the run of the Express workflow ``signal``, whose output is JSON in a string.
"""

# https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartSyncExecution.html

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from bot.api.quote import quote
from bot.api.responses import parse_response
from bot.errors import DeliveryError, Rejected, TemporaryFailure

_SUCCEEDED: Final = "SUCCEEDED"
_UNEXPECTED: Final = "the API's answer is not as expected: upgrade so that the stack and voice-relay match"
_PERMANENT: Final = frozenset(
    {
        "InvalidSignal",
        "WaitInvalid",
        "States.Runtime",
        "States.QueryEvaluationError",
        "States.DataLimitExceeded",
    }
)
"""Sent again, these signals would fail again."""
_CAUSE_MAX_CHARS: Final = 500
_PARSE_ERRORS: Final = (KeyError, TypeError, ValueError, OverflowError)


class Outcome(enum.StrEnum):
    """What became of a signal."""

    SIGNALLED = "signalled"
    """The execution goes on with it."""
    NOT_WAITING = "not_waiting"
    """The execution does not wait yet, or does not wait any more, or is none of this stack."""
    ALREADY_DECIDED = "already_decided"
    """Another signal was faster, or this one was sent before."""
    NOT_ALLOWED = "not_allowed"
    """The execution waits, but not for this signal from this sender."""


@dataclass(frozen=True, slots=True)
class Decider:
    """Who sent a signal: ``kind`` is ``user``, ``relay`` or ``operator``; ``id`` is a user's."""

    kind: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a signal, and where it was decided before: with which signal, by whom and when."""

    outcome: Outcome
    signal: str | None = None
    by: Decider | None = None
    at_ms: int | None = None


def parse_signal(
    status: int, headers: Mapping[str, str], body: bytes, now: datetime, secrets: Sequence[str] = ()
) -> Answer:
    """Return the answer, or raise a DeliveryError."""
    run = parse_response(status, headers, body, now, secrets)
    if run.get("status") != _SUCCEEDED:
        raise _explain_run(run, secrets)
    try:
        return _parse_answer(orjson.loads(run["output"]), secrets)
    except _PARSE_ERRORS:
        raise Rejected(_UNEXPECTED, status=status) from None


def _explain_run(run: Mapping[str, Any], secrets: Sequence[str]) -> DeliveryError:
    """Return why the run of ``signal`` did not succeed; it may have signalled all the same."""
    code = quote(str(run.get("error") or run.get("status") or ""), secrets)
    cause = quote(str(run.get("cause") or ""), secrets, max_chars=_CAUSE_MAX_CHARS)
    text = f"the stack failed to signal the execution: {code}" + (f": {cause}" if cause else "")
    if code in _PERMANENT:
        return Rejected(text, code=code)
    return TemporaryFailure(text, code=code, outcome_unknown=True)


def _parse_answer(fields: Any, secrets: Sequence[str]) -> Answer:
    """Return the answer; raises one of ``_PARSE_ERRORS``."""
    outcome = Outcome(fields["outcome"])
    if outcome is not Outcome.ALREADY_DECIDED:
        return Answer(outcome)
    by, at = fields["by"], datetime.fromisoformat(fields["at"])
    if at.tzinfo is None:
        raise ValueError(at)
    return Answer(
        outcome,
        signal=quote(str(fields["signal"]), secrets),
        by=Decider(
            quote(str(by["kind"]), secrets),
            None if by.get("id") is None else quote(str(by["id"]), secrets),
        ),
        at_ms=round(at.timestamp() * 1000),
    )
