"""Progress of a deployment, on a terminal and elsewhere."""

import io

import pytest

from infra.cli.progress import Progress
from infra.deploy.stack_events import StackEvent

EVENTS = (
    StackEvent("relay", "AWS::CloudFormation::Stack", "CREATE_IN_PROGRESS", "User Initiated"),
    StackEvent("Api", "AWS::Test", "CREATE_IN_PROGRESS", ""),
    StackEvent("Api", "AWS::Test", "CREATE_COMPLETE", ""),
    StackEvent("Role", "AWS::Test", "CREATE_FAILED", "not \x1b[2J authorized"),
    StackEvent("relay", "AWS::CloudFormation::Stack", "ROLLBACK_COMPLETE", ""),
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _show(*, live: bool) -> str:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, live=live, clock=clock)
    progress.expect(2)
    clock.now = 65
    for event in EVENTS:
        progress(event)
    progress.finish()
    return stream.getvalue()


def test_hides_unplanned_resources_unless_failed() -> None:
    stream = io.StringIO()
    progress = Progress(stream, live=False)
    progress.expect(1, ["Role"])

    for event in EVENTS:
        progress(event)

    assert [line.split()[0] for line in stream.getvalue().splitlines()] == [
        "CREATE_IN_PROGRESS",
        "CREATE_FAILED",
        "ROLLBACK_COMPLETE",
    ]


def test_prints_lines_without_terminal() -> None:
    lines = _show(live=False).splitlines()

    assert [line.split()[0] for line in lines] == [
        "CREATE_IN_PROGRESS",
        "CREATE_COMPLETE",
        "CREATE_FAILED",
        "ROLLBACK_COMPLETE",
    ]
    assert lines[2].endswith("Role: not \\u001b[2J authorized")


def test_terminal_keeps_only_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")

    text = _show(live=True)

    staying = [line.rpartition("\x1b[K")[2] for line in text.split("\n")[:-1]]
    assert [line.split()[0] for line in staying] == ["CREATE_FAILED"]
    moving = [part for part in text.split("\r\x1b[K") if part and "\n" not in part]
    assert "1:05  1 of 2 resources  Api CREATE_COMPLETE" in moving
    assert all(len(line) < 60 for line in moving)
    assert text.endswith("\r\x1b[K")


def test_sleep_shows_time() -> None:
    stream = io.StringIO()
    progress = Progress(stream, live=True)
    progress(EVENTS[1])
    drawn = len(stream.getvalue())

    progress.sleep(0.01)

    assert progress.elapsed_s >= 0.01
    assert len(stream.getvalue()) > drawn
