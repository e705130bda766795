"""Task tokens as AWS has them: good for one answer, and only while the execution runs.

ministack accepts a second answer until the execution's thread has read the first, and answers for stopped
executions. It also takes a TimeoutSeconds that is an expression as it stands.
"""

# https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskSuccess.html

import contextvars
from collections.abc import Mapping
from typing import Any

from infra.local.aws.hooks.seam import Function, Seam, module

_STATES = "ministack.services.stepfunctions"
_EXECUTE = Seam(_STATES, "_execute_task", ("state_def", "raw_input", "execution", "ctx"))
_WAIT = Seam(_STATES, "_invoke_with_callback", ("resource", "input_data", "token", "state_def"))
_ANSWERS = tuple(Seam(_STATES, f"_send_task_{how}", ("data",)) for how in ("success", "failure"))
SEAMS = (_EXECUTE, _WAIT, *_ANSWERS)

_execution: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar("execution")


def install() -> None:
    states = module(_STATES)
    responses = module("ministack.core.responses")
    execute, wait = _EXECUTE.original(), _WAIT.original()
    # The execution that waits for each token.
    waiting: dict[str, Mapping[str, Any]] = {}

    def execute_task(state_def: dict[str, Any], raw_input: Any, execution: Any, ctx: Any) -> Any:
        limits = {
            key: states._evaluate_jsonata(value[2:-2], raw_input, ctx)
            for key in ("TimeoutSeconds", "HeartbeatSeconds")
            if isinstance(value := state_def.get(key), str) and value.startswith("{%")
        }
        _execution.set(execution)
        return execute({**state_def, **limits}, raw_input, execution, ctx)

    def invoke_with_callback(resource: str, input_data: Any, token: str, state_def: Any) -> Any:
        waiting[token] = _execution.get()
        try:
            return wait(resource, input_data, token, state_def)
        finally:
            del waiting[token]

    def once(answer: Function) -> Function:
        def answered(data: dict[str, Any]) -> Any:
            # Requests are served one at a time, on the event loop.
            info = states._task_tokens.get(data.get("taskToken"))
            execution = waiting.get(data.get("taskToken", ""), {"status": "RUNNING"})
            if info is not None and (info["event"].is_set() or execution["status"] != "RUNNING"):
                message = "Task Timed Out: 'Provided task does not exist anymore'"
                return responses.error_response_json("TaskTimedOut", message, 400)
            return answer(data)

        return answered

    _EXECUTE.replace(execute_task)
    _WAIT.replace(invoke_with_callback)
    for seam in _ANSWERS:
        seam.replace(once(seam.original()))
