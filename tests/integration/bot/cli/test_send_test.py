"""``send-test --wait`` where the end does not come in time."""

import argparse
from collections.abc import AsyncIterator

import orjson
import pytest
from aiohttp import web
from botocore.credentials import ReadOnlyCredentials

from bot.api.target import FixedCredentials, Target
from bot.cli.execution_arguments import add_send_test
from bot.cli.send_test import answer_send_test, check_send_test
from bot.errors import SettingsError
from tests.support.ingress import ARN, StubIngress


@pytest.fixture
async def api() -> AsyncIterator[StubIngress]:
    async with StubIngress() as api:
        api.answers.extend([starts, *[runs] * 100])
        yield api


async def starts(_: web.BaseRequest) -> None:
    """Leave it to the API."""


async def runs(_: web.BaseRequest) -> web.Response:
    about = {"executionArn": f"{ARN}n", "name": "n", "status": "RUNNING", "startDate": 1.7952444e9}
    return web.json_response({"status": "SUCCEEDED", "output": orjson.dumps(about).decode()})


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_send_test(parser.add_subparsers())
    return parser.parse_args(["send-test", *words])


@pytest.mark.parametrize("deployed", [True, False])
async def test_only_an_execution_that_outlives_the_command_can_be_asked_about_again(
    api: StubIngress, deployed: bool
) -> None:
    """What is known before is shown all the same, in one column."""
    shown: list[str] = []
    credentials = FixedCredentials(ReadOnlyCredentials("AKIDEXAMPLE", "secret", None))
    target = Target(api.endpoint, "us-east-1", credentials)
    arguments = parse("--wait", "--timeout", "0.3")
    answer = await answer_send_test(arguments, target, print, shown.append, deployed=deployed)
    (name,) = api.executions
    asked = f"; ask again: voice-relay status --wait {ARN}{name}" if deployed else ""
    assert (list(answer.lines), list(answer.problems)) == ([], [f"it has not ended in 0.3 s{asked}"])
    assert [line.split()[0] for line in shown] == ["execution", "request", "started"]
    assert {line[9:11] for line in shown} == {"  "}
    assert all(line[11] != " " for line in shown)


def test_a_timeout_without_waiting_makes_no_sense() -> None:
    with pytest.raises(SettingsError, match="give --wait as well"):
        check_send_test(parse("--timeout", "5"))
    check_send_test(parse("--timeout", "5", "--wait"))
    check_send_test(parse())
