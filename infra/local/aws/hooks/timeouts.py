"""Time-outs that ministack lacks: that of an execution, and for tasks that wait, which task it is.

``TimeoutSeconds`` of a state machine ends its execution as TIMED_OUT.
"""

# https://docs.aws.amazon.com/step-functions/latest/dg/statemachine-structure.html

import contextvars
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.local.aws.hooks.seam import Seam, module

_STATES = "ministack.services.stepfunctions"
_RUN = Seam(_STATES, "_run_execution", ("exec_arn",))
_TASK = Seam(_STATES, "_execute_task", ("state_def", "raw_input", "execution", "ctx"))
SEAMS = (
    _RUN,
    _TASK,
    Seam(_STATES, "_add_event", ("execution", "event_type", "details")),
    Seam(_STATES, "_emit_execution_status_event", ("execution",)),
    Seam(_STATES, "now_iso", ()),
)


@dataclass(frozen=True)
class RunningTask:
    """A task state, and the execution that it belongs to."""

    state: Mapping[str, Any]
    execution: Mapping[str, Any]


# ministack copies the context into the threads that it starts for branches, items and time-outs.
_task: contextvars.ContextVar[RunningTask] = contextvars.ContextVar("task")


def running_task() -> RunningTask:
    """Return the task that this thread executes."""
    return _task.get()


def install() -> None:
    states = module(_STATES)
    run, execute = _RUN.original(), _TASK.original()

    def execute_task(state_def: Any, raw_input: Any, execution: Any, ctx: Any) -> Any:
        token = _task.set(RunningTask(state_def, execution))
        try:
            return execute(state_def, raw_input, execution, ctx)
        finally:
            _task.reset(token)

    def run_execution(exec_arn: str) -> None:
        execution = states._executions[exec_arn]
        definition = json.loads(states._state_machines[execution["stateMachineArn"]]["definition"])
        limit_s = definition.get("TimeoutSeconds")
        if limit_s is None:
            run(exec_arn)
            return
        # In the context of the request: ministack looks up account and region there.
        context = contextvars.copy_context()
        timer = threading.Timer(limit_s, context.run, (_time_out, states, execution))
        timer.daemon = True
        timer.start()
        try:
            run(exec_arn)
        finally:
            timer.cancel()

    _TASK.replace(execute_task)
    _RUN.replace(run_execution)


def _time_out(states: Any, execution: dict[str, Any]) -> None:
    """End *execution*; its thread ends at its next state."""
    if execution["status"] != "RUNNING":
        return
    execution.update(status="TIMED_OUT", stopDate=states.now_iso())
    states._add_event(execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {}})
    states._emit_execution_status_event(execution)
