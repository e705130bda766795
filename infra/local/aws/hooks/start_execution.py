"""StartExecution is idempotent while the execution runs, and refuses what AWS refuses.

ministack answers every name that it knows with ExecutionAlreadyExists, and takes any name and any input.
"""

# facts: Step Functions, StartExecution; the service model's documentation of StartExecution

import json
import re
from collections.abc import Callable
from typing import Any

from infra.local.aws.hooks.seam import Seam, module

_START = Seam("ministack.services.stepfunctions", "_start_execution", ("data",))
SEAMS = (
    _START,
    Seam(
        "ministack.core.responses",
        "error_response_json",
        ("code", "message", "status", "extra", "message_key", "content_type"),
    ),
)

MAX_INPUT_BYTES = 262_144
_NAME = re.compile(r"""[^\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,80}""")
# AWS puts the whole name of the exception's Java class before the "#".
_PREFIX = "com.amazonaws.swf.service.v2.model#"


def problem(data: dict[str, Any]) -> tuple[str, str] | None:
    """The error name and message with which AWS refuses the request *data*, before it looks anything up."""
    name, document = data.get("name"), data.get("input", "{}")
    if name is not None and not _NAME.fullmatch(name):
        return _PREFIX + "InvalidName", f"Invalid Name: '{name}'"
    if len(document.encode()) > MAX_INPUT_BYTES:
        constraint = f"Member must have length less than or equal to {MAX_INPUT_BYTES}"
        return (
            "com.amazon.coral.validate#ValidationException",
            f"1 validation error detected: Value at 'input' failed to satisfy constraint: {constraint}",
        )
    try:
        json.loads(document)
    except ValueError:
        reason = "Invalid State Machine Execution Input: 'Invalid execution input.'"
        return _PREFIX + "InvalidExecutionInput", reason
    return None


def install() -> None:
    start: Callable[[dict[str, Any]], Any] = _START.original()
    states = module("ministack.services.stepfunctions")
    responses = module("ministack.core.responses")

    def start_execution(data: dict[str, Any]) -> Any:
        if refused := problem(data):
            return responses.error_response_json(*refused, 400)
        if earlier := _namesake(states, data):
            # Whether AWS compares the input's text or its value is not known; text is the stricter.
            if earlier["status"] == "RUNNING" and earlier["input"] == data.get("input", "{}"):
                return responses.json_response(
                    {"executionArn": earlier["executionArn"], "startDate": earlier["startDate"]}
                )
            message = f"Execution Already Exists: '{earlier['executionArn']}'"
            return responses.error_response_json(_PREFIX + "ExecutionAlreadyExists", message, 400)
        return start(data)

    _START.replace(start_execution)


def _namesake(states: Any, data: dict[str, Any]) -> Any:
    """The execution of a Standard state machine that already bears the requested name."""
    machine = states._state_machines.get(data.get("stateMachineArn", ""))
    if machine is None or machine["type"] != "STANDARD" or not data.get("name"):
        return None
    arn = machine["stateMachineArn"].replace(":stateMachine:", ":execution:", 1)
    return states._executions.get(f"{arn}:{data['name']}")
