"""An execution of a test's own workflow, which waits for signals."""

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from infra.local.aws import EmbeddedAws

_POLL_S = 0.02
_TIMEOUT_S = 20.0


def start_waiting_execution(
    aws: EmbeddedAws,
    outputs: Mapping[str, str],
    allowed: Sequence[Any],
    *,
    timeout_s: int = 60,
    name: str | None = None,
) -> str:
    """Start an execution that waits once for each of *allowed*, one after another; return its ARN.

    Each is the row's ``allow``: as data, or as text that need not be JSON. *outputs* are the relay's stack's.
    """
    states = {
        f"Wait{number}": _wait(allow, timeout_s=timeout_s, table=outputs["WaitsTableName"])
        | ({"Next": f"Wait{number + 1}"} if number + 1 < len(allowed) else {"End": True})
        for number, allow in enumerate(allowed)
    }
    definition = {"QueryLanguage": "JSONata", "StartAt": "Wait0", "States": states}
    client = aws.client("stepfunctions")
    machine = client.create_state_machine(
        name=_unique(), definition=json.dumps(definition), roleArn=_role(aws, outputs["WaitsTableArn"])
    )
    started = client.start_execution(stateMachineArn=machine["stateMachineArn"], name=name or _unique())
    arn: str = started["executionArn"]
    return arn


def read_wait(aws: EmbeddedAws, outputs: Mapping[str, str], name: str) -> dict[str, Any]:
    """Return the execution's row, empty if there is none."""
    found = aws.client("dynamodb").get_item(TableName=outputs["WaitsTableName"], Key={"name": {"S": name}})
    row: dict[str, Any] = found.get("Item", {})
    return row


def wait_for_token(
    aws: EmbeddedAws, outputs: Mapping[str, str], name: str, *, before: str | None = None
) -> str:
    """Wait until the execution has written a token other than *before*, and return it."""
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        token = read_wait(aws, outputs, name).get("token", {}).get("S")
        if token not in (None, before):
            return str(token)
        time.sleep(_POLL_S)
    raise TimeoutError(f"{name} does not wait")


def _wait(allow: Any, *, timeout_s: int, table: str) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:dynamodb:putItem.waitForTaskToken",
        "TimeoutSeconds": f"{{% {timeout_s} %}}",
        "Arguments": {
            "TableName": table,
            "Item": {
                "name": {"S": "{% $states.context.Execution.Name %}"},
                "token": {"S": "{% $states.context.Task.Token %}"},
                "expires_at": {"N": f"{{% $string($floor($millis() / 1000) + {timeout_s + 60}) %}}"},
                "allow": {"S": allow if isinstance(allow, str) else json.dumps(allow)},
            },
        },
    }


def _role(aws: EmbeddedAws, table: str) -> str:
    """Create a role with which Step Functions may write down waits, and return its ARN."""
    iam = aws.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    may = {"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": table}
    name = _unique()
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_document(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="wait", PolicyDocument=_document(may))
    return arn


def _document(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _unique() -> str:
    return f"waiting-{uuid.uuid4().hex[:8]}"
