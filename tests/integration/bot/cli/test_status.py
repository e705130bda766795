"""``status`` where the API throttles, fails or is elsewhere."""

import pytest

from bot.cli.status import Options, show_status
from bot.cli.waiting import hint_failures
from bot.errors import SettingsError, TemporaryFailure
from tests.integration.bot.cli.answers import ARN, THROTTLED, found, reply, target
from tests.support.consoles import RecordingConsole
from tests.support.ingress import StubIngress

ONCE = Options(ARN.text)
WAIT = Options(ARN.text, wait=True)


async def test_repeats_question_after_failure(api: StubIngress) -> None:
    api.answers.extend([reply(THROTTLED, 429), reply(b"", 503), found("RUNNING")])
    console = RecordingConsole()
    assert await show_status(ONCE, ARN, target(api), console) == 0
    assert "  status   RUNNING" in console.lines


async def test_gives_up_after_three_failures(api: StubIngress) -> None:
    api.answers.extend([reply(THROTTLED, 429)] * 3)
    with pytest.raises(TemporaryFailure, match="429"):
        await show_status(ONCE, ARN, target(api), RecordingConsole())
    assert api.requests == 3


async def test_waits_through_failures(api: StubIngress) -> None:
    api.answers.extend([reply(THROTTLED, 429), found("SUCCEEDED", 1.7952445e9)])
    console = RecordingConsole()
    assert await show_status(WAIT, ARN, target(api), console) == 0
    assert "  status   SUCCEEDED" in console.lines
    assert console.hints == ["voice-relay: the API answered 429: Too Many Requests; asking again"]


def test_reports_repeated_failure_once() -> None:
    hints: list[str] = []
    on_failure = hint_failures(hints.append)
    for words in ("a", "a", "b", "a"):
        on_failure(TemporaryFailure(words))
    assert hints == [f"{words}; asking again" for words in ("a", "b", "a")]


async def test_refuses_execution_elsewhere(api: StubIngress) -> None:
    with pytest.raises(SettingsError, match="is in us-east-1, but"):
        await show_status(ONCE, ARN, target(api, "eu-west-1"), RecordingConsole())
    assert api.requests == 0


@pytest.mark.parametrize("watched", [True, False])
async def test_hints_at_waiting_on_terminal(api: StubIngress, watched: bool) -> None:
    """Once, and only where someone sees it."""
    api.answers.extend([found("RUNNING"), found("RUNNING"), found("SUCCEEDED", 1.7952445e9)])
    console = RecordingConsole(watched=watched)
    await show_status(WAIT, ARN, target(api), console)
    assert len(console.hints) == watched
    assert all("n is RUNNING, started " in hint for hint in console.hints)
