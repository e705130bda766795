"""``status`` and ``stop`` where the API has its moods, and where somebody is asked whether they mean it."""

import argparse
import io
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import orjson
import pytest
from aiohttp import web
from botocore.credentials import ReadOnlyCredentials

import bot.cli.status
from bot.api.execution_arn import ExecutionArn
from bot.api.target import FixedCredentials, Target
from bot.cli.execution_arguments import add_status, add_stop
from bot.cli.status import answer_status, answer_stop, confirm_stop, tell_changes
from bot.errors import Rejected, SettingsError, TemporaryFailure
from tests.support.ingress import StubIngress

ARN = ExecutionArn("arn:aws:states:us-east-1:123456789012:execution:m:n", "us-east-1", "m", "n")
THROTTLED = b'{"message":"Too Many Requests"}'
STOPPED = b'{"stopDate":1.795244460E9}'
REFUSED = b'{"__type":"ValidationException","message":"Execution is not running"}'
Reply = Callable[[web.BaseRequest], Awaitable[web.Response]]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bot.cli.status, "backoff_s", lambda *_: 0.0)


@pytest.fixture
async def api() -> AsyncIterator[StubIngress]:
    async with StubIngress() as api:
        yield api


def target(api: StubIngress, region: str = "us-east-1") -> Target:
    key = ReadOnlyCredentials("AKIDEXAMPLE", "secret", None)
    return Target(api.endpoint, region, FixedCredentials(key))


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    add_status(commands)
    add_stop(commands)
    return parser.parse_args([words[0], ARN.text, *words[1:]])


def reply(body: bytes, status: int = 200) -> Reply:
    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(body=body, status=status, content_type="application/json")

    return answer


def found(status: str, ended: float | None = None) -> Reply:
    about = {"executionArn": ARN.text, "name": "n", "status": status, "startDate": 1.7952444e9, "input": "{}"}
    if ended is not None:
        about["stopDate"] = ended
    return reply(orjson.dumps({"status": "SUCCEEDED", "output": orjson.dumps(about).decode()}))


async def test_one_question_is_asked_again_where_that_may_help(api: StubIngress) -> None:
    api.answers.extend([reply(THROTTLED, 429), reply(b"", 503), found("RUNNING")])
    answer = await answer_status(parse("status"), ARN, target(api), print)
    assert "  status   RUNNING" in answer.lines
    assert answer.problems == []


async def test_one_question_is_given_up_in_the_end(api: StubIngress) -> None:
    api.answers.extend([reply(THROTTLED, 429)] * 3)
    with pytest.raises(TemporaryFailure, match="429"):
        await answer_status(parse("status"), ARN, target(api), print)
    assert api.requests == 3


async def test_waiting_tells_what_is_in_its_way_and_goes_on(api: StubIngress) -> None:
    told: list[str] = []
    api.answers.extend([reply(THROTTLED, 429), found("SUCCEEDED", 1.7952445e9)])
    answer = await answer_status(parse("status", "--wait"), ARN, target(api), told.append)
    assert "  status   SUCCEEDED" in answer.lines
    assert told == ["the API answered 429: Too Many Requests; asking again"]


def test_the_same_trouble_is_told_once() -> None:
    told: list[str] = []
    tell = tell_changes(told.append)
    for words in ("a", "a", "b", "a"):
        tell(TemporaryFailure(words))
    assert told == [f"{words}; asking again" for words in ("a", "b", "a")]


async def test_an_execution_elsewhere_is_not_asked_about(api: StubIngress) -> None:
    elsewhere = target(api, "eu-west-1")
    with pytest.raises(SettingsError, match="is in us-east-1, but"):
        await answer_status(parse("status"), ARN, elsewhere, print)
    with pytest.raises(SettingsError, match="is in us-east-1, but"):
        await answer_stop(ARN, elsewhere)
    assert api.requests == 0


async def test_a_stop_is_told_where_nobody_may_look(api: StubIngress) -> None:
    api.answers.extend([reply(STOPPED), reply(b'{"message":"Forbidden"}', 403)])
    (line,) = (await answer_stop(ARN, target(api))).lines
    assert line.startswith("stopped: n, ")


async def test_a_stop_is_told_where_the_record_lags_behind(api: StubIngress) -> None:
    api.answers.extend([reply(STOPPED), found("RUNNING")])
    (line,) = (await answer_stop(ARN, target(api))).lines
    assert line.startswith("stopped: n, ")


@pytest.mark.parametrize("answered", [reply(STOPPED), reply(REFUSED, 400)])
async def test_what_ended_by_itself_was_not_stopped(api: StubIngress, answered: Reply) -> None:
    """Whichever of the two Step Functions answers then."""
    api.answers.extend([answered, found("SUCCEEDED", 1.7952445e9)])
    (line,) = (await answer_stop(ARN, target(api))).lines
    assert line.startswith("nothing to stop: n had ended as SUCCEEDED, ")


async def test_a_refused_stop_of_what_runs_is_a_failure(api: StubIngress) -> None:
    api.answers.extend([reply(REFUSED, 400), found("RUNNING")])
    with pytest.raises(Rejected, match="Execution is not running"):
        await answer_stop(ARN, target(api))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "stops"), [("y\n", True), ("YES\n", True), ("n\n", False), ("", False)])
def test_asks_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, stops: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    assert confirm_stop(parse("stop"), ARN) is stops
    assert "End n of m?" in capsys.readouterr().err
    assert confirm_stop(parse("stop", "--yes"), ARN)
    assert capsys.readouterr().err == ""


def test_asks_nobody_where_there_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(SettingsError, match="give --yes"):
        confirm_stop(parse("stop"), ARN)


async def test_waiting_says_nothing_where_nobody_watches(api: StubIngress) -> None:
    told: list[str] = []
    api.answers.extend([found("RUNNING"), found("SUCCEEDED", 1.7952445e9)])
    await answer_status(parse("status", "--wait"), ARN, target(api), told.append)
    assert told == []
