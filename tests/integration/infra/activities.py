"""Executions that hand one task to an activity."""

import json
from typing import Any

from infra.local.aws import EmbeddedAws
from tests.integration.infra.relay import unique

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}


def start_task(aws: EmbeddedAws, activity: str, *, limit_s: int | None = None, **task: Any) -> str:
    """Start an execution of one task with the fields of *task*, and return its ARN.

    What it catches goes on to the state "Caught".
    """
    work = {"Type": "Task", "Resource": activity, "End": True, **task}
    definition: dict[str, Any] = {"QueryLanguage": "JSONata", "StartAt": "Work", "States": {"Work": work}}
    if "Catch" in task:
        definition["States"]["Caught"] = {"Type": "Succeed"}
    if limit_s is not None:
        definition["TimeoutSeconds"] = limit_s
    states, iam = aws.client("stepfunctions"), aws.client("iam")
    # It must exist, but needs no permission for an activity.
    role = iam.create_role(RoleName=unique("role"), AssumeRolePolicyDocument=json.dumps(_TRUST))["Role"][
        "Arn"
    ]
    machine = states.create_state_machine(
        name=unique("machine"), definition=json.dumps(definition), roleArn=role
    )["stateMachineArn"]
    given = {"short": 1, "long": 600}
    return str(states.start_execution(stateMachineArn=machine, input=json.dumps(given))["executionArn"])
