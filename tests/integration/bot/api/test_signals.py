"""Signals sent, and what each answer means."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp import web
from botocore.credentials import ReadOnlyCredentials

from bot.api.client import ApiClient
from bot.api.signals import OPERATOR, RELAY, Answer, Decider, Outcome, Sender, Signals
from bot.api.target import FixedCredentials, Target
from bot.errors import DeliveryError, Rejected, TemporaryFailure, Unauthorized
from tests.support.ingress import Answer as Reply
from tests.support.ingress import StubIngress

DECIDED = {
    "outcome": "already_decided",
    "signal": "decline",
    "by": {"kind": "user", "id": "80351110224678912"},
    "at": "2026-11-21T07:00:00.123Z",
}


@pytest.fixture
async def api() -> AsyncIterator[StubIngress]:
    async with StubIngress() as api:
        yield api


@pytest.fixture
async def signals(api: StubIngress) -> AsyncIterator[Signals]:
    key = FixedCredentials(ReadOnlyCredentials("AKIDEXAMPLE", "secret", None))
    async with ApiClient(Target(api.endpoint, "us-east-1", key), max_connections=1) as client:
        yield Signals(client)


def reply(body: bytes, status: int = 200, *, asked: Any = None) -> Reply:
    async def answer(request: web.BaseRequest) -> web.Response:
        assert request.path == "/executions/signal"
        if asked is not None:
            assert orjson.loads(await request.read()) == asked
        return web.Response(body=body, status=status, content_type="application/json")

    return answer


def succeed(output: object) -> bytes:
    return orjson.dumps({"status": "SUCCEEDED", "output": orjson.dumps(output).decode()})


def fail(error: str, cause: str = "", status: str = "FAILED") -> bytes:
    return orjson.dumps({"status": status, "error": error, "cause": cause})


@pytest.mark.parametrize(
    ("by", "fields"),
    [
        (RELAY, {"kind": "relay"}),
        (OPERATOR, {"kind": "operator"}),
        (
            Sender("user", "8", ("5", "6"), "32", "2"),
            {"kind": "user", "id": "8", "roles": ["5", "6"], "permissions": "32", "channel": "2"},
        ),
    ],
)
async def test_sends_signal_and_sender(
    api: StubIngress, signals: Signals, by: Sender, fields: dict[str, Any]
) -> None:
    asked = {"name": "1-01JD", "signal": "admit", "data": {"note": "x"}, "by": fields}
    api.answers.append(reply(succeed({"outcome": "signalled"}), asked=asked))

    assert await signals.send("1-01JD", "admit", by=by, data={"note": "x"}) == Answer(Outcome.SIGNALLED)


@pytest.mark.parametrize("outcome", ["signalled", "not_waiting", "not_allowed"])
async def test_returns_outcome(api: StubIngress, signals: Signals, outcome: str) -> None:
    api.answers.append(reply(succeed({"outcome": outcome})))

    assert await signals.send("n", "admit", by=RELAY) == Answer(Outcome(outcome))


async def test_names_earlier_decision(api: StubIngress, signals: Signals) -> None:
    api.answers.append(reply(succeed(DECIDED)))

    assert await signals.send("n", "admit", by=RELAY) == Answer(
        Outcome.ALREADY_DECIDED, "decline", Decider("user", "80351110224678912"), 1_795_244_400_123
    )


@pytest.mark.parametrize(
    ("body", "status", "kind", "words"),
    [
        (fail("InvalidSignal", "by.kind must be user"), 200, Rejected, "by.kind must be user"),
        (fail("WaitInvalid", "an allow"), 200, Rejected, "an allow"),
        (fail("States.Runtime", "mistake"), 200, Rejected, "mistake"),
        (fail("SignalNotSent", "Sfn.SfnException"), 200, TemporaryFailure, "Sfn.SfnException"),
        (fail("", status="TIMED_OUT"), 200, TemporaryFailure, "TIMED_OUT"),
        (succeed({"outcome": "new"}), 200, Rejected, "not as expected"),
        (succeed(["signalled"]), 200, Rejected, "not as expected"),
        (succeed({**DECIDED, "at": "yesterday"}), 200, Rejected, "not as expected"),
        (succeed({**DECIDED, "at": "2026-11-21T07:00:00"}), 200, Rejected, "not as expected"),
        (succeed({**DECIDED, "by": "user"}), 200, Rejected, "not as expected"),
        (b'{"status":"SUCCEEDED"}', 200, Rejected, "not as expected"),
        (b'{"message":"Not Found"}', 404, Rejected, "no route POST /executions/signal: .*voice-relay deploy"),
        (b'{"message":"Forbidden"}', 403, Unauthorized, "bot policy"),
        (b"", 503, TemporaryFailure, "503"),
    ],
)
async def test_explains_failure(
    api: StubIngress, signals: Signals, body: bytes, status: int, kind: type[DeliveryError], words: str
) -> None:
    api.answers.append(reply(body, status))

    with pytest.raises(DeliveryError, match=words) as caught:
        await signals.send("n", "admit", by=RELAY)

    assert type(caught.value) is kind


async def test_failed_run_may_have_signalled(api: StubIngress, signals: Signals) -> None:
    api.answers.append(reply(fail("States.Timeout", status="TIMED_OUT")))

    with pytest.raises(TemporaryFailure) as caught:
        await signals.send("n", "admit", by=RELAY)

    assert caught.value.outcome_unknown
