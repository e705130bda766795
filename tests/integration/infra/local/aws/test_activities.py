"""Tasks of an activity in the embedded AWS: handed out at once, timed out, and gone with their execution."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from infra.local.aws import EmbeddedAws
from tests.integration.infra.activities import start_task
from tests.integration.infra.relay import POLL_S, TIMEOUT_S, unique, wait_for_execution


@pytest.fixture
def activity(aws: EmbeddedAws) -> Iterator[str]:
    states = aws.client("stepfunctions")
    arn: str = states.create_activity(name=unique("work"))["activityArn"]
    yield arn
    states.delete_activity(activityArn=arn)


def _poll(aws: EmbeddedAws, activity: str) -> dict[str, Any]:
    task: dict[str, Any] = aws.client("stepfunctions").get_activity_task(activityArn=activity)
    return task


def test_hands_task_to_waiting_poll(aws: EmbeddedAws, activity: str) -> None:
    with ThreadPoolExecutor() as pool:
        poll = pool.submit(_poll, aws, activity)
        arn = start_task(aws, activity, Arguments={"a": "{% $states.input.short %}"})
        task = poll.result(TIMEOUT_S)
    aws.client("stepfunctions").send_task_success(taskToken=task["taskToken"], output='{"b": 2}')

    assert json.loads(task["input"]) == {"a": 1}
    assert json.loads(wait_for_execution(aws, arn)["output"]) == {"b": 2}


def test_lost_poll_takes_no_task(aws: EmbeddedAws, activity: str) -> None:
    impatient = aws.client("stepfunctions")
    impatient.meta.events.register("before-send.sfn.GetActivityTask", _hang_up)
    for _ in range(3):
        with pytest.raises(ConnectionAbortedError):
            impatient.get_activity_task(activityArn=activity)
    start_task(aws, activity)

    assert _poll(aws, activity)["taskToken"]


def _hang_up(request: Any, **_: Any) -> None:
    """Send the request, and close the connection before the answer."""
    parts = urlsplit(request.url)
    connection = http.client.HTTPConnection(parts.netloc)
    connection.request(request.method, "/", request.body, dict(request.headers))
    # Long enough for the poll to wait in line.
    time.sleep(0.2)
    connection.close()
    raise ConnectionAbortedError


def test_waiting_polls_share_the_tasks(aws: EmbeddedAws, activity: str) -> None:
    """No poll sleeps while a task waits."""
    with ThreadPoolExecutor() as pool:
        polls = [pool.submit(_poll, aws, activity) for _ in range(4)]
        for _ in range(4):
            start_task(aws, activity)
        tokens = {poll.result(TIMEOUT_S)["taskToken"] for poll in polls}

    assert len(tokens) == 4


@pytest.mark.parametrize(
    "limits",
    [
        {"HeartbeatSeconds": 1, "TimeoutSeconds": 600},
        {"TimeoutSeconds": 1},
        {"HeartbeatSeconds": "{% $states.input.short %}", "TimeoutSeconds": "{% $states.input.long %}"},
    ],
    ids=["heartbeat", "whole", "expressions"],
)
def test_silent_worker_times_out(aws: EmbeddedAws, activity: str, limits: dict[str, Any]) -> None:
    arn = start_task(aws, activity, **limits)
    token = _poll(aws, activity)["taskToken"]

    ended = wait_for_execution(aws, arn)

    assert (ended["status"], ended["error"]) == ("FAILED", "States.Timeout")
    states = aws.client("stepfunctions")
    with pytest.raises(states.exceptions.TaskDoesNotExist):
        states.send_task_success(taskToken=token, output="{}")


def test_heartbeats_keep_task_alive(aws: EmbeddedAws, activity: str) -> None:
    arn = start_task(aws, activity, HeartbeatSeconds=2, TimeoutSeconds=600)
    states = aws.client("stepfunctions")
    task = _poll(aws, activity)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(0.5):
            states.send_task_heartbeat(taskToken=task["taskToken"])

    beats = threading.Thread(target=beat)
    beats.start()
    try:
        # Longer than the task may be silent.
        time.sleep(3)
    finally:
        ended.set()
        beats.join()

    states.send_task_success(taskToken=task["taskToken"], output="{}")
    assert wait_for_execution(aws, arn)["status"] == "SUCCEEDED"


def test_time_runs_from_pick_up(aws: EmbeddedAws, activity: str) -> None:
    """A task that no worker has yet does not time out by its own fields, but with its execution."""
    arn = start_task(aws, activity, limit_s=2, HeartbeatSeconds=0.1, TimeoutSeconds=0.2)

    assert wait_for_execution(aws, arn)["status"] == "TIMED_OUT"


@pytest.mark.parametrize("ends", ["stopped", "timed out"])
def test_ended_execution_takes_its_task_along(aws: EmbeddedAws, activity: str, ends: str) -> None:
    """A worker gets the task of the execution that still runs."""
    states = aws.client("stepfunctions")
    if ends == "stopped":
        arn = start_task(aws, activity)
        _until(lambda: _is_scheduled(aws, arn))
        states.stop_execution(executionArn=arn)
    else:
        arn = start_task(aws, activity, limit_s=1)
    wait_for_execution(aws, arn)
    _until(lambda: _has_left(aws, arn))

    start_task(aws, activity, Arguments={"second": True})

    assert json.loads(_poll(aws, activity)["input"]) == {"second": True}


def _history(aws: EmbeddedAws, arn: str) -> list[str]:
    events = aws.client("stepfunctions").get_execution_history(executionArn=arn)["events"]
    return [event["type"] for event in events]


def _is_scheduled(aws: EmbeddedAws, arn: str) -> bool:
    return "TaskScheduled" in _history(aws, arn)


def _has_left(aws: EmbeddedAws, arn: str) -> bool:
    return "TaskFailed" in _history(aws, arn)


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(POLL_S)
