"""What the API answers, whatever it is: a result or a DeliveryError, short, printable and without secrets."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import example, given

from bot.api.execution_responses import parse_status, parse_stop
from bot.api.responses import RETRY_AFTER_MAX_S, parse_retry_after, parse_start
from bot.api.signal_responses import parse_signal
from bot.errors import DeliveryError, TemporaryFailure
from tests.support.secret_samples import SESSION_TOKEN, SIGNATURE

NOW: Final = datetime(2026, 11, 21, 7, 0, tzinfo=UTC)
SECRETS: Final = (SESSION_TOKEN, SIGNATURE)
MESSAGE_MAX_CHARS: Final = 1500

_KEYS: Final = st.sampled_from(
    [
        *("__type", "message", "Message", "executionArn", "name", "status", "startDate", "stopDate"),
        *("input", "output", "error", "cause", "outcome", "signal", "by", "kind", "id", "at"),
    ]
)
_TEXTS: Final = st.one_of(
    st.text(max_size=60),
    st.sampled_from([*SECRETS, "SUCCEEDED", "x#ExecutionAlreadyExists", "x#ThrottlingException", "\x1b[2J"]),
    st.lists(st.sampled_from([*SECRETS, "\u202e", "\n", "x", "token="]), max_size=4).map("".join),
    st.integers(1, 100_000).map(lambda length: "A" * length),
)
_LEAVES: Final = st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS
_VALUES: Final = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS | _TEXTS, inner, max_size=4)
)


def dump(value: Any) -> bytes:
    return orjson.dumps(value, default=str) if _is_json(value) else b"{"


def _is_json(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        # Integers of more than 64 bits, and lone surrogates.
        return False
    return True


@st.composite
def described(draw: st.DrawFn) -> bytes:
    """Return an answer about an execution that is almost as it should be."""
    wanted = {"executionArn": "arn", "name": "n", "status": "FAILED", "startDate": 1.7e9}
    fields = {**wanted, **draw(st.dictionaries(_KEYS, _LEAVES, max_size=3))}
    return dump({"status": "SUCCEEDED", "output": dump(fields).decode()})


@st.composite
def decided(draw: st.DrawFn) -> bytes:
    """Return an answer about a signal that is almost as it should be."""
    by = {"kind": "user", "id": "1", **draw(st.dictionaries(_KEYS, _LEAVES, max_size=2))}
    wanted = {"outcome": "already_decided", "signal": "admit", "by": by, "at": "2026-11-21T07:00:00.000Z"}
    fields = {**wanted, **draw(st.dictionaries(_KEYS, _LEAVES, max_size=3))}
    return dump({"status": "SUCCEEDED", "output": dump(fields).decode()})


BODIES: Final = st.binary(max_size=200) | _VALUES.map(dump) | described() | decided()
HEADERS: Final = st.dictionaries(
    st.sampled_from(["Retry-After", "Date"]),
    st.text(max_size=40)
    | st.integers().map(str)
    | st.from_regex(r"\A(Sat, )?\d{1,9} Nov \d{1,9} \d{1,4}:\d\d:\d\d( GMT| [+-]\d{1,9})?\Z"),
)
Parse = Callable[[int, Mapping[str, str], bytes, datetime, Sequence[str]], object]


@given(status=st.integers(100, 999), headers=HEADERS, body=BODIES)
@example(status=400, headers={"Retry-After": "9" * 5000}, body=b'{"__type":"ThrottlingException"}')
@example(status=403, headers={"Date": "Sat, 21 Nov 2026 07:00:00 +9999999999"}, body=b"")
@example(status=500, headers={}, body=b"[" * 100_000)
@pytest.mark.parametrize("parse", [parse_start, parse_status, parse_stop, parse_signal])
def test_answer_never_surprises(parse: Parse, status: int, headers: dict[str, str], body: bytes) -> None:
    """A short and printable message, without the secrets of the request, is all that an answer can cause."""
    refusal = None
    try:
        parse(status, headers, body, NOW, SECRETS)
    except DeliveryError as error:
        refusal = error
    text = "" if refusal is None else f"{refusal} {refusal.code}"
    assert text.isprintable()
    assert len(text) <= MESSAGE_MAX_CHARS
    assert not any(secret in text for secret in SECRETS)
    if isinstance(refusal, TemporaryFailure) and refusal.retry_after_s is not None:
        assert 0 <= refusal.retry_after_s <= RETRY_AFTER_MAX_S


@given(st.text() | st.floats().map(str) | st.dates().map(str) | st.datetimes().map(lambda when: f"{when:%c}"))
def test_retry_after_stays_bounded(value: str) -> None:
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= RETRY_AFTER_MAX_S
