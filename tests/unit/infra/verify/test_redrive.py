"""The check of redrive, which the embedded AWS cannot show: against a script of Step Functions' answers."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from infra.verify.check import Check, Row, Verdict, make
from infra.verify.executions import CHECKS
from infra.verify.site import Site

(_CHECK,) = (check for check in CHECKS if check.name == "redrive of a failed post")


class _Site:
    """A site whose failed post is redriven; *scheduled* is how often its task has been by each look."""

    is_embedded = False

    def __init__(self, scheduled: list[int], status: str = "FAILED") -> None:
        self.redriven: list[str] = []
        self._scheduled = scheduled
        self._status = status
        self.states = SimpleNamespace(
            redrive_execution=lambda executionArn: self.redriven.append(executionArn),  # noqa: N803
            get_execution_history=lambda executionArn: self._history(),  # noqa: N803
        )

    def start_sample(self, workflow: str, *, destination: str) -> str:
        return f"{workflow}:{destination}"

    def finish(self, _: str) -> dict[str, str]:
        return {"status": self._status}

    def wait_for(self, look: Callable[[], Any], what: str) -> Any:
        while self._scheduled:
            if found := look():
                return found
        raise TimeoutError(f"waited in vain for {what}")

    def _history(self) -> dict[str, Any]:
        task = {"type": "TaskScheduled"}
        return {"events": [{"type": "ExecutionStarted"}, *[task] * self._scheduled.pop(0)]}


def _make(site: _Site, check: Check = _CHECK) -> Row:
    (row,) = make([check], cast("Site", site))
    return row


def test_repeated_task_is_ok() -> None:
    """Though the first look still shows the execution as it was."""
    site = _Site([1, 2])

    assert _make(site).verdict is Verdict.OK
    assert site.redriven == ["notify:missing"]


@pytest.mark.parametrize("site", [_Site([1, 1]), _Site([], status="SUCCEEDED")])
def test_other_outcomes_differ(site: _Site) -> None:
    assert _make(site).verdict is Verdict.DIFFERS
