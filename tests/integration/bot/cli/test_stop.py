"""``stop`` with and without consent, and where the execution has ended already."""

import pytest

from bot.cli.stop import confirm_stop, stop
from bot.errors import Rejected, SettingsError
from tests.integration.bot.cli.answers import ARN, Reply, found, reply, target
from tests.support.consoles import RecordingConsole
from tests.support.ingress import StubIngress

STOPPED = b'{"stopDate":1.795244460E9}'
REFUSED = b'{"__type":"ValidationException","message":"Execution is not running"}'


async def stop_it(api: StubIngress) -> str:
    console = RecordingConsole()
    assert await stop(ARN, target(api), console) == 0
    (line,) = console.lines
    return line


async def test_stops_without_permission_to_read(api: StubIngress) -> None:
    api.answers.extend([reply(STOPPED), reply(b'{"message":"Forbidden"}', 403)])
    assert (await stop_it(api)).startswith("stopped: n, ")


async def test_stops_although_record_lags(api: StubIngress) -> None:
    api.answers.extend([reply(STOPPED), found("RUNNING")])
    assert (await stop_it(api)).startswith("stopped: n, ")


@pytest.mark.parametrize("answered", [reply(STOPPED), reply(REFUSED, 400)])
async def test_reports_execution_that_had_ended(api: StubIngress, answered: Reply) -> None:
    """Whichever of the two Step Functions answers then."""
    api.answers.extend([answered, found("SUCCEEDED", 1.7952445e9)])
    assert (await stop_it(api)).startswith("nothing to stop: n had ended as SUCCEEDED, ")


async def test_fails_if_stop_is_refused(api: StubIngress) -> None:
    api.answers.extend([reply(REFUSED, 400), found("RUNNING")])
    with pytest.raises(Rejected, match="Execution is not running"):
        await stop_it(api)


async def test_refuses_execution_elsewhere(api: StubIngress) -> None:
    with pytest.raises(SettingsError, match="is in us-east-1, but"):
        await stop(ARN, target(api, "eu-west-1"), RecordingConsole())
    assert api.requests == 0


@pytest.mark.parametrize(("typed", "stops"), [("y\n", True), ("YES\n", True), ("n\n", False), ("", False)])
def test_asks_first(typed: str, stops: bool) -> None:
    console = RecordingConsole(typed)
    assert confirm_stop(ARN, console) is stops
    assert console.hints == ["Stop n of m? The rest of its work is lost. [y/N] "]
