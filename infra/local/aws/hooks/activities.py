"""Activities: the resource type ``AWS::StepFunctions::Activity``, and the time-outs of their tasks.

ministack neither deploys activities nor times their tasks out, hands out tasks of executions that have ended,
and looks for new ones twice a second. Here a task's ``TimeoutSeconds`` and ``HeartbeatSeconds`` run from the
moment when a worker gets it, as on AWS, and a poll gets its task at once. A poll whose client hangs up waits
no longer; AWS does not say whether such a poll still takes a task.
"""

# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-activities.html

import asyncio
import contextlib
import contextvars
import json
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from infra.local.aws.hooks.responses import read_body
from infra.local.aws.hooks.seam import Seam, module
from infra.local.aws.hooks.timeouts import RunningTask, running_task

_STATES = "ministack.services.stepfunctions"
_PROVISIONERS = "ministack.services.cloudformation.provisioners"
_INVOKE = Seam(_STATES, "_invoke_activity", ("resource", "input_data"))
_POLL = Seam(_STATES, "_get_activity_task", ("data",))
_HEARTBEAT = Seam(_STATES, "_send_task_heartbeat", ("data",))
SEAMS = (
    _INVOKE,
    _POLL,
    _HEARTBEAT,
    Seam(_STATES, "_create_activity", ("data",)),
    Seam(_STATES, "_delete_activity", ("data",)),
    # Reads the table of resource types that this hook extends.
    Seam(_PROVISIONERS, "_provision_resource", ("resource_type", "logical_id", "props", "stack_name")),
)

_POLL_S = 60.0
_LOOK_S = 0.1
"""How often a waiting task looks whether it has timed out, or its execution has ended."""

# Where the running request's messages come from; the last one says that its client has hung up.
_receive: contextvars.ContextVar[Callable[[], Awaitable[Any]] | None] = contextvars.ContextVar(
    "receive", default=None
)


def noting_clients(app: Any) -> Any:
    """Wrap *app* so that a poll learns of the end of its client."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        _receive.set(receive)
        await app(scope, receive, send)

    return serve


def install() -> None:
    _install_resource_type()
    polls = _Polls()
    states = module(_STATES)
    heartbeat = _HEARTBEAT.original()

    def invoke_activity(resource: str, input_data: Any) -> Any:
        if resource not in states._activities:
            raise states._ExecutionError(
                "States.Runtime", f"The activity {resource} does not exist, but is required."
            )
        return _Task(states, running_task(), resource, json.dumps(input_data)).run(polls)

    async def get_activity_task(data: dict[str, Any]) -> Any:
        arn = data.get("activityArn", "")
        if arn not in states._activities:
            return states.error_response_json("ActivityDoesNotExist", f"Activity {arn} not found", 400)
        task = await polls.take(states, arn)
        return states.json_response({} if task is None else task)

    def send_task_heartbeat(data: dict[str, Any]) -> Any:
        if info := states._task_tokens.get(data.get("taskToken")):
            info["alive_s"] = time.monotonic()
        return heartbeat(data)

    _INVOKE.replace(invoke_activity)
    _POLL.replace(get_activity_task)
    _HEARTBEAT.replace(send_task_heartbeat)


def _install_resource_type() -> None:
    states = module(_STATES)

    def create(_logical_id: str, props: dict[str, Any], _stack_name: str) -> tuple[str, dict[str, str]]:
        arn = json.loads(read_body(states._create_activity({"name": props["Name"]})))["activityArn"]
        return arn, {"Arn": arn, "Name": props["Name"]}

    def delete(physical_id: str, _props: dict[str, Any]) -> None:
        read_body(states._delete_activity({"activityArn": physical_id}))

    def update(
        physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str
    ) -> tuple[str, dict[str, str]]:
        if old["Name"] == new["Name"]:
            return physical_id, {"Arn": physical_id, "Name": new["Name"]}
        made = create("", new, stack_name)
        delete(physical_id, old)
        return made

    module(_PROVISIONERS)._RESOURCE_HANDLERS["AWS::StepFunctions::Activity"] = {
        "create": create,
        "update": update,
        "delete": delete,
    }


class _Polls:
    """Workers that wait for a task; the one that has waited longest gets the next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[_Poll] = deque()

    async def take(self, states: Any, arn: str) -> dict[str, str] | None:
        """Return a task of the activity; ``None`` after a minute without one, or once the client is gone."""
        poll = _Poll(arn)
        gone = asyncio.create_task(_wait_gone())
        gone.add_done_callback(lambda _: poll.woken.set())
        queue: Any = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_POLL_S):
                # Waiting before the look at the queue: else a task that arrives in between wakes no poll.
                while not (queue := self._wait_in_line(poll, states)) and not gone.done():
                    await poll.woken.wait()
        with self._lock, contextlib.suppress(ValueError):
            self._waiting.remove(poll)
        if not queue or gone.done():
            gone.cancel()
            # This poll may have been woken for a task that another can take.
            self.wake(arn)
            return None
        gone.cancel()
        task: dict[str, str] = queue.pop(0)
        if info := states._task_tokens.get(task["taskToken"]):
            info["started_s"] = info["alive_s"] = time.monotonic()
        return task

    def _wait_in_line(self, poll: "_Poll", states: Any) -> Any:
        poll.woken.clear()
        with self._lock:
            if poll not in self._waiting:
                self._waiting.append(poll)
        return states._activity_tasks.get(poll.arn)

    def wake(self, arn: str) -> None:
        """Wake the poll that has waited longest for the activity; called from any thread."""
        with self._lock:
            poll = next((each for each in self._waiting if each.arn == arn), None)
            if poll is not None:
                self._waiting.remove(poll)
                poll.loop.call_soon_threadsafe(poll.woken.set)


async def _wait_gone() -> None:
    """Wait until the client of the running request hangs up."""
    receive = _receive.get()
    if receive is None:
        await asyncio.Event().wait()
        return
    while (await receive())["type"] != "http.disconnect":
        pass


class _Poll:
    def __init__(self, arn: str) -> None:
        self.arn = arn
        self.loop = asyncio.get_running_loop()
        self.woken = asyncio.Event()


class _Task:
    """A task that waits for a worker, and then for its result."""

    def __init__(self, states: Any, running: RunningTask, arn: str, text: str) -> None:
        self._states = states
        self._running = running
        self._arn = arn
        self._done = threading.Event()
        self._info: dict[str, Any] = {"event": self._done, "result": None, "error": None, "heartbeat": None}
        self._handed = {"taskToken": states.new_uuid(), "input": text}

    def run(self, polls: _Polls) -> Any:
        """Return the worker's result, or raise its error; raises States.Timeout."""
        token = self._handed["taskToken"]
        self._states._task_tokens[token] = self._info
        self._states._activity_tasks[self._arn].append(self._handed)
        polls.wake(self._arn)
        try:
            while not self._done.wait(_LOOK_S):
                self._check()
        finally:
            self._states._task_tokens.pop(token, None)
        if error := self._info["error"]:
            raise self._states._ExecutionError(error["Error"], error["Cause"])
        return json.loads(self._info["result"])

    def _check(self) -> None:
        """Raise the task's error if its time, or its execution's, is over."""
        if self._running.execution["status"] != "RUNNING":
            queue = self._states._activity_tasks.get(self._arn, [])
            if self._handed in queue:
                queue.remove(self._handed)
            raise self._states._ExecutionError("States.TaskFailed", "The execution has ended.")
        if "started_s" not in self._info:
            return
        now_s = time.monotonic()
        for field, since in (("TimeoutSeconds", "started_s"), ("HeartbeatSeconds", "alive_s")):
            limit_s = self._running.state.get(field)
            if limit_s is not None and now_s - self._info[since] >= limit_s:
                # Recordings show this name for a missed heartbeat too.
                raise self._states._ExecutionError("States.Timeout", f"{field} is over")
