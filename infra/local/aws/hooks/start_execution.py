"""Makes StartExecution idempotent while the execution runs, and validates its input as AWS does.

ministack answers ExecutionAlreadyExists for every known name, and accepts any name and input. It also keeps
every execution forever; this hook drops the oldest ended ones but remembers their names. A few Express
executions are kept, of which AWS keeps none.
"""

# facts: Step Functions, StartExecution; the service model's documentation of StartExecution

import json
import re
import secrets
from collections.abc import Callable
from typing import Any

from infra.local.aws.hooks.retained_executions import RetainedExecutions
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
# A separate bound, because every heartbeat starts one and must not evict Standard executions.
_EXPRESS_RETAINED = 100
_NAME = re.compile(r"""[^\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,80}""")
# AWS puts the full name of the exception's Java class before the "#".
PREFIX = "com.amazonaws.swf.service.v2.model#"


def problem(data: dict[str, Any]) -> tuple[str, str] | None:
    """Return the error name and message if AWS would reject *data* before looking anything up."""
    name, document = data.get("name"), data.get("input", "{}")
    if name is not None and not _NAME.fullmatch(name):
        return PREFIX + "InvalidName", f"Invalid Name: '{name}'"
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
        return PREFIX + "InvalidExecutionInput", reason
    return None


def install(*, retained: int, retained_input_bytes: int) -> None:
    """Install the hook; the newest *retained* executions are kept, or fewer if their inputs are large."""
    start: Callable[[dict[str, Any]], Any] = _START.original()
    states = module("ministack.services.stepfunctions")
    responses = module("ministack.core.responses")
    executions = RetainedExecutions(states._executions, retained, retained_input_bytes)
    express = RetainedExecutions(states._executions, min(retained, _EXPRESS_RETAINED), retained_input_bytes)

    def start_express(data: dict[str, Any]) -> Any:
        # Express executions may share a name, so each gets its own ARN.
        unique = secrets.token_hex(16)
        response = start(data | {"name": unique})
        if response[0] == 200:
            arn = json.loads(response[2])["executionArn"]
            states._executions[arn]["name"] = data.get("name") or unique
            express.add(arn)
        return response

    def start_execution(data: dict[str, Any]) -> Any:
        if refused := problem(data):
            return responses.error_response_json(*refused, 400)
        arn = _execution_arn(states, data)
        if arn is not None and executions.knows(arn):
            earlier = states._executions.get(arn)
            # Whether AWS compares the input as text or by value is unknown; text is stricter.
            if earlier and earlier["status"] == "RUNNING" and earlier["input"] == data.get("input", "{}"):
                return responses.json_response({"executionArn": arn, "startDate": earlier["startDate"]})
            message = f"Execution Already Exists: '{arn}'"
            return responses.error_response_json(PREFIX + "ExecutionAlreadyExists", message, 400)
        if _is_express(states, data):
            return start_express(data)
        response = start(data)
        if response[0] == 200:
            executions.add(json.loads(response[2])["executionArn"])
        return response

    _START.replace(start_execution)


def _is_express(states: Any, data: dict[str, Any]) -> bool:
    machine = states._state_machines.get(data.get("stateMachineArn", ""))
    return machine is not None and machine["type"] == "EXPRESS"


def _execution_arn(states: Any, data: dict[str, Any]) -> str | None:
    """Return the execution ARN for the request's name; None if names need not be unique."""
    machine = states._state_machines.get(data.get("stateMachineArn", ""))
    if machine is None or machine["type"] != "STANDARD" or not data.get("name"):
        return None
    return f"{machine['stateMachineArn'].replace(':stateMachine:', ':execution:', 1)}:{data['name']}"
