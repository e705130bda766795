"""What each response of the API means."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import example, given

from bot.api.execution_responses import parse_status, parse_stop
from bot.api.responses import RETRY_AFTER_MAX_S, parse_start
from bot.errors import DeliveryError, Rejected, TemporaryFailure, Unauthorized
from tests.support.secret_samples import SESSION_TOKEN, SIGNATURE

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
        (400, b'{"message":"Bad Request"}', TemporaryFailure, ""),
        (400, b"<html>", TemporaryFailure, ""),
        (400, refusal("SomethingNew"), TemporaryFailure, "SomethingNew"),
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
    ("status", "body", "unknown"),
    [
        (400, refusal("ThrottlingException", "com.amazon.coral#"), False),
        (404, b'{"message":"Not Found"}', False),
        (429, b'{"message":"Too Many Requests"}', False),
        (400, b'{"message":"Bad Request"}', True),
        (400, refusal("SomethingNew"), True),
        (500, refusal("InternalFailure"), True),
        (503, b'{"message":"Service Unavailable"}', True),
        (200, b"<html>", True),
        (302, b"", True),
    ],
)
def test_says_whether_outcome_is_unknown(status: int, body: bytes, unknown: bool) -> None:
    with pytest.raises(TemporaryFailure) as caught:
        parse_start(status, {}, body, now=NOW)
    assert caught.value.outcome_unknown is unknown


numbers = st.integers(-(10**20), 10**20).map(str)
dates = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Sat", "", "x"]),
    numbers,
    st.sampled_from(["Nov", "Foo", "11"]),
    *[numbers] * 4,
    st.sampled_from(["GMT", "+9999", "-99999999999", "EST", ""]),
)
headers = st.text() | numbers | dates | st.sampled_from(["9" * 5000, "inf", "nan", "1e400", "-1", "²", "٣"])


@given(retry_after=headers, date=headers)
@example(retry_after="9" * 400, date="Sat, 21 Nov 99999999999 07:20:00 GMT")
@example(retry_after="Sat, 99999999999999999999 Nov 2026 07:20:00 GMT", date="")
def test_no_header_raises(retry_after: str, date: str) -> None:
    """Retry-After and Date may hold anything; the wait is never longer than the cap."""
    with pytest.raises(TemporaryFailure) as failed:
        parse_start(503, {"Retry-After": retry_after, "Date": date}, b"", now=NOW)
    assert 0 <= (failed.value.retry_after_s or 0) <= RETRY_AFTER_MAX_S
    with pytest.raises(Unauthorized):
        parse_start(403, {"Retry-After": retry_after, "Date": date}, b"", now=NOW)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (format_datetime(NOW + timedelta(seconds=90)), 90.0),
        ("99999999", RETRY_AFTER_MAX_S),
        ("9" * 400, RETRY_AFTER_MAX_S),
        (format_datetime(NOW + timedelta(days=9)), RETRY_AFTER_MAX_S),
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


ESCAPES = "\x1b[2J\r\nINFO forged\u202e\u2028\x9b\u200b"
PARSERS = [parse_start, parse_status, parse_stop]


def failure(parse: Callable[..., object], status: int, answer: object) -> DeliveryError:
    """Return the error that *parse* raises for *answer* to a request with a session token and a signature."""
    with pytest.raises(DeliveryError) as caught:
        parse(status, {}, orjson.dumps(answer), NOW, [SESSION_TOKEN, SIGNATURE])
    return caught.value


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("status", [400, 403, 413, 503])
@pytest.mark.parametrize("field", ["__type", "message"])
@pytest.mark.parametrize("before", ["", ESCAPES, "x" * 60 + " ", "x" * 170 + " ", " " * 16_300, "x " * 8_180])
def test_quotes_no_secret_of_request(
    parse: Callable[..., object], status: int, field: str, before: str
) -> None:
    """An API that repeats the request's headers gives away nothing, wherever the text is cut."""
    error = failure(parse, status, {field: f"a#{before}{SESSION_TOKEN} {SIGNATURE}"})
    for said in (str(error), error.code):
        assert SESSION_TOKEN[:8] not in said
        assert SIGNATURE[:8] not in said


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "answer",
    [
        {"__type": "a#" + ESCAPES + "x" * 50_000},
        {"message": ESCAPES + "x " * 25_000},
        {"status": "FAILED", "error": ESCAPES + "x" * 50_000, "cause": "no"},
        {"status": "FAILED", "error": "no", "cause": ESCAPES + "x " * 25_000},
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_quotes_one_short_printable_line(parse: Callable[..., object], status: int, answer: object) -> None:
    error = failure(parse, status, answer)
    assert str(error).isprintable()
    assert error.code.isprintable()
    assert len(str(error)) < 800
    assert len(error.code) <= 200


@pytest.mark.parametrize("arn", [SESSION_TOKEN, f"{ARN}{SIGNATURE}", ARN + ESCAPES, "x" * 50_000])
def test_receipt_holds_no_more_than_arn(arn: str) -> None:
    """The ARN is kept in the receipt and shown by commands."""
    kept = parse_start(200, {}, orjson.dumps({"executionArn": arn}), NOW, [SESSION_TOKEN, SIGNATURE])
    assert kept.isprintable()
    assert len(kept) <= 200
    assert SESSION_TOKEN not in kept
    assert SIGNATURE not in kept


def test_keeps_readable_reason() -> None:
    body = {"__type": SWF + "InvalidName", "message": "Invalid Name: 'ü✓'\n(must be ASCII)"}
    assert str(failure(parse_start, 400, body)) == (
        "the API answered 400 InvalidName: Invalid Name: 'ü✓' (must be ASCII)"
    )
