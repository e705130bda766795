"""Express workflows: StartSyncExecution answers as AWS does, and its executions are not kept.

ministack also accepts Standard workflows and any input there, returns an output for failed executions, and
keeps every execution forever. AWS keeps none, except in logs.
"""

# https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartSyncExecution.html

import json
from collections.abc import Callable
from typing import Any

from infra.local.aws.hooks.seam import Seam, module
from infra.local.aws.hooks.start_execution import PREFIX, problem

_START_SYNC = Seam("ministack.services.stepfunctions", "_start_sync_execution", ("data",))
SEAMS = (_START_SYNC,)


def install() -> None:
    start: Callable[[dict[str, Any]], Any] = _START_SYNC.original()
    states = module("ministack.services.stepfunctions")
    responses = module("ministack.core.responses")

    def start_sync_execution(data: dict[str, Any]) -> Any:
        if refused := problem(data):
            return responses.error_response_json(*refused, 400)
        machine = states._state_machines.get(data.get("stateMachineArn", ""))
        if machine is not None and machine["type"] != "EXPRESS":
            message = "This operation is not supported by this type of state machine"
            return responses.error_response_json(PREFIX + "StateMachineTypeNotSupported", message, 400)
        status, headers, body = start(data)
        if status != 200:
            return status, headers, body
        answer = json.loads(body)
        states._executions.pop(answer["executionArn"], None)
        if answer["status"] != "SUCCEEDED":
            del answer["output"]
        return responses.json_response(answer)

    _START_SYNC.replace(start_sync_execution)
