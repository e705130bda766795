"""A task token is good for one answer."""

import json
import threading
from typing import Any

import pytest
from ministack.services import stepfunctions

from infra.local.aws.hooks import task_tokens

TOKEN = "task-1"
REPLACED = ("_execute_task", "_invoke_with_callback", "_send_task_success", "_send_task_failure")


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A task that waits, and has not yet noticed any answer."""
    for name in REPLACED:
        # To be put back.
        monkeypatch.setattr(stepfunctions, name, getattr(stepfunctions, name))
    task_tokens.install()
    task: dict[str, Any] = {"event": threading.Event(), "result": None, "error": None}
    monkeypatch.setattr(stepfunctions, "_task_tokens", {TOKEN: task})
    return task


def answer(how: str, **fields: str) -> tuple[int, str]:
    status, _, body = getattr(stepfunctions, f"_send_task_{how}")({"taskToken": TOKEN, **fields})
    return status, str(json.loads(body).get("__type", ""))


@pytest.mark.parametrize("second", ["success", "failure"])
def test_second_answer_comes_too_late(waiting: dict[str, Any], second: str) -> None:
    assert answer("success", output="1") == (200, "")

    assert answer(second, output="2") == (400, "TaskTimedOut")

    assert (waiting["result"], waiting["error"]) == ("1", None)


@pytest.mark.usefixtures("waiting")
def test_unknown_token_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepfunctions, "_task_tokens", {})

    assert answer("success") == (400, "TaskDoesNotExist")
