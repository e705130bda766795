"""A workflow of these tests' own that waits for a signal, and the signals that they send to it."""

import json
import time
from dataclasses import dataclass
from typing import Any

from infra.local.aws.credentials import Credentials
from tests.integration.infra.relay import POLL_S, TIMEOUT_S, Answer, Relay, unique, wait_for_execution

ALICE = {"kind": "user", "id": "80351110224678912", "roles": ["5"], "permissions": "0"}
ADMIT = {"admit": {"users": [ALICE["id"]]}}


def _wait(allow: Any, *, timeout_s: int, table: str, next_state: str | None) -> dict[str, Any]:
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
        **({"Next": next_state} if next_state else {"End": True}),
    }


@dataclass(frozen=True)
class Waiting:
    """An execution that waits."""

    relay: Relay
    arn: str

    @property
    def name(self) -> str:
        return self.arn.rpartition(":")[2]

    def row(self) -> dict[str, Any]:
        table = self.relay.outputs["WaitsTableName"]
        found = self.relay.aws.client("dynamodb").get_item(TableName=table, Key={"name": {"S": self.name}})
        row: dict[str, Any] = found.get("Item", {})
        return row

    def until_token_changes(self, before: str | None = None) -> str:
        """Wait until the execution has written a token other than *before*, and return it."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            token = self.row().get("token", {}).get("S")
            if token not in (None, before):
                return str(token)
            time.sleep(POLL_S)
        raise TimeoutError(f"{self.arn} does not wait")

    def signal(
        self, signal: Any = "admit", by: Any = ALICE, *, who: Credentials | None = None, **more: Any
    ) -> Answer:
        return send_signal(self.relay, {"name": self.name, "signal": signal, "by": by, **more}, who=who)

    def finished(self) -> dict[str, Any]:
        return wait_for_execution(self.relay.aws, self.arn)

    def output(self) -> Any:
        ended = self.finished()
        assert ended["status"] == "SUCCEEDED", ended
        return json.loads(ended["output"])


def send_signal(relay: Relay, body: Any, *, who: Credentials | None = None) -> Answer:
    """Send the signal, by default as the bot."""
    return relay.post(relay.url("/executions/signal"), json.dumps(body).encode(), who=who)


def outcome(answer: Answer) -> dict[str, Any]:
    """Unwrap the signal workflow's output from the envelope of its own execution."""
    assert answer.status == 200, answer
    envelope = answer.json()
    assert envelope["status"] == "SUCCEEDED", envelope
    found: dict[str, Any] = json.loads(envelope["output"])
    return found


def failure(answer: Answer) -> tuple[str, str]:
    assert answer.status == 200, answer
    envelope = answer.json()
    assert envelope["status"] == "FAILED", envelope
    return envelope["error"], envelope["cause"]


def start_waiting(
    relay: Relay, *allowed: Any, timeout_s: int = 60, name: str | None = None, wait: bool = True
) -> Waiting:
    """Start an execution that waits once for each of *allowed*, one after another."""
    table = relay.outputs["WaitsTableName"]
    allowed = allowed or (ADMIT,)
    states = {
        f"Wait{number}": _wait(
            allow,
            timeout_s=timeout_s,
            table=table,
            next_state=f"Wait{number + 1}" if number + 1 < len(allowed) else None,
        )
        for number, allow in enumerate(allowed)
    }
    definition = {"QueryLanguage": "JSONata", "StartAt": "Wait0", "States": states}
    client = relay.aws.client("stepfunctions")
    machine = client.create_state_machine(
        name=unique("waiting"), definition=json.dumps(definition), roleArn=_role(relay)
    )["stateMachineArn"]
    arn = client.start_execution(stateMachineArn=machine, name=name or unique("wait"))["executionArn"]
    waiting = Waiting(relay, arn)
    if wait:
        waiting.until_token_changes()
    return waiting


def _role(relay: Relay) -> str:
    """A role that may write down waits, for Step Functions."""
    iam = relay.aws.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    may = {"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": relay.outputs["WaitsTableArn"]}
    name = unique("waiting")
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_document(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="wait", PolicyDocument=_document(may))
    return arn


def _document(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
