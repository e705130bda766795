"""What each response of the API means."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from bot.api.responses import parse_start
from bot.errors import DeliveryError, Rejected, TemporaryFailure, Unauthorized

NOW = datetime(2026, 11, 21, 7, 0, tzinfo=UTC)
ARN = "arn:aws:states:eu-west-1:123456789012:execution:notify:1-01JD"
SWF = "com.amazonaws.swf.service.v2.model#"


def refusal(code: str, namespace: str = SWF) -> bytes:
    """Return the body of a refusal by Step Functions."""
    return b'{"__type":"%s","message":"m"}' % (namespace + code).encode()


def test_start_returns_arn() -> None:
    body = b'{"executionArn":"%s","startDate":1.65E9}' % ARN.encode()
    assert parse_start(200, {}, body, now=NOW) == ARN


@pytest.mark.parametrize("status", [400, 409, 500])
def test_existing_execution_is_success(status: int) -> None:
    body = b'{"__type":"%sExecutionAlreadyExists","message":"Execution Already Exists: \'%s\'"}'
    assert parse_start(status, {}, body % (SWF.encode(), ARN.encode()), now=NOW) == ARN


def test_existing_execution_without_arn() -> None:
    """The ARN is read from the message, which may change; success does not depend on it."""
    assert parse_start(400, {}, b'{"__type":"ExecutionAlreadyExists"}', now=NOW) == ""


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (400, refusal("ThrottlingException", "com.amazon.coral#"), TemporaryFailure, "ThrottlingException"),
        (400, refusal("ExecutionLimitExceeded"), TemporaryFailure, "ExecutionLimitExceeded"),
        (400, refusal("StateMachineDoesNotExist"), TemporaryFailure, "StateMachineDoesNotExist"),
        (400, refusal("InvalidExecutionInput"), Rejected, "InvalidExecutionInput"),
        (400, refusal("ValidationException", "com.amazon.coral.validate#"), Rejected, "ValidationException"),
        (400, b'{"message":"Bad Request"}', Rejected, ""),
        (400, b"<html>", Rejected, ""),
        (413, b'{"message":"Request Entity Too Large"}', Rejected, ""),
        (401, b"", Unauthorized, ""),
        (403, b'{"message":"Forbidden"}', Unauthorized, ""),
        (404, b'{"message":"Not Found"}', TemporaryFailure, ""),
        (429, b'{"message":"Too Many Requests"}', TemporaryFailure, ""),
        (500, b"", TemporaryFailure, ""),
        (502, b"<html>", TemporaryFailure, ""),
        (503, b'{"message":"Service Unavailable"}', TemporaryFailure, ""),
        (504, b'{"message":"Endpoint request timed out"}', TemporaryFailure, ""),
        (302, b"", TemporaryFailure, ""),
        (200, b"<html>a hotel's captive portal</html>", TemporaryFailure, ""),
        (200, b"[1]", TemporaryFailure, ""),
        (200, b'{"executionArn":null}', TemporaryFailure, ""),
    ],
)  # fmt: skip
def test_code_decides_before_status(status: int, body: bytes, kind: type[DeliveryError], code: str) -> None:
    """The service's error code decides; the status only where there is no code."""
    with pytest.raises(DeliveryError) as caught:
        parse_start(status, {}, body, now=NOW)
    assert (type(caught.value), caught.value.status, caught.value.code) == (kind, status, code)
    assert str(status) in str(caught.value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (format_datetime(NOW + timedelta(seconds=90)), 90.0),
        ("soon", None),
        (None, None),
        ("-3", None),
    ],
)
def test_keeps_retry_after(value: str | None, seconds: float | None) -> None:
    headers = {} if value is None else {"Retry-After": value}
    with pytest.raises(TemporaryFailure) as caught:
        parse_start(503, headers, b"", now=NOW)
    assert caught.value.retry_after_s == seconds


@pytest.mark.parametrize(
    ("off_s", "words"), [(600, "600 s ahead of"), (-600, "600 s behind"), (299, "bot policy")]
)
def test_refusal_names_wrong_clock(off_s: int, words: str) -> None:
    date = format_datetime(NOW - timedelta(seconds=off_s), usegmt=True)
    with pytest.raises(Unauthorized, match=words):
        parse_start(403, {"Date": date}, b'{"message":"Forbidden"}', now=NOW)


def test_refusal_names_possible_causes() -> None:
    with pytest.raises(Unauthorized) as caught:
        parse_start(403, {}, b'{"message":"Forbidden"}', now=NOW)
    for words in ("VOICE_RELAY_API_ENDPOINT", "VOICE_RELAY_AWS_REGION", "not deleted or rotated"):
        assert words in str(caught.value)
