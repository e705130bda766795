"""The policies of a workflow's own stack are minimal: without any one piece, something stops working."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from infra.deploy.definition import parse_definition
from infra.deploy.engine import DeployOptions
from infra.deploy.workflow_stack import KIND, OwnWorkflow, deploy_workflow
from infra.local.aws import EmbeddedAws
from tests.integration.infra.relay import POLL_S, Relay, Webhook, new_relay, unique, wait_for_execution
from tests.integration.infra.test_policies import Documents, Piece
from tests.integration.infra.waiting import send_signal
from tests.support.waiting import read_wait
from tests.unit.infra.test_workflow_template import ResolvedWorkflow

# Posts, then waits; the branch by its input, so that one execution may end where nothing is to be signalled.
DEFINITION: dict[str, Any] = {
    "QueryLanguage": "JSONata",
    "StartAt": "Post",
    "States": {
        "Post": {
            "Type": "Task",
            "Resource": "arn:${Partition}:states:::apigateway:invoke",
            "Arguments": {
                "ApiEndpoint": "${WebhookProxyHost}",
                "Method": "POST",
                "Path": "/destinations/default",
                "AuthType": "IAM_ROLE",
                "RequestBody": {"content": "Hello"},
            },
            "Output": "{% $states.context.Execution.Input %}",
            "Next": "Choose",
        },
        "Choose": {
            "Type": "Choice",
            "Choices": [{"Condition": "{% $states.input.waits %}", "Next": "Wait"}],
            "Default": "Done",
        },
        "Wait": {
            "Type": "Task",
            "Resource": "arn:${Partition}:states:::aws-sdk:dynamodb:putItem.waitForTaskToken",
            "TimeoutSeconds": 60,
            "Arguments": {
                "TableName": "${WaitsTable}",
                "Item": {
                    "name": {"S": "{% $states.context.Execution.Name %}"},
                    "token": {"S": "{% $states.context.Task.Token %}"},
                    "allow": {"S": '{"go": {"relay": true}}'},
                },
            },
            "Next": "Done",
        },
        "Done": {"Type": "Succeed"},
    },
}
ALL_GRANTED = OwnWorkflow(parse_definition(json.dumps(DEFINITION), where="work", name="work", values={}))
# What breaks without each statement. The embedded AWS evaluates neither log delivery nor traces; the tests of
# connections try calls.
OWN = {
    Piece("MachineRole/trust", 0): {"posts", "waits"},
    Piece("MachineRole/post", 0): {"posts", "waits"},
    Piece("MachineRole/wait", 0): {"waits"},
    Piece("StartRole/trust", 0): {"posts", "waits"},
    Piece("StartRole/start-workflow", 0): {"posts", "waits"},
    Piece("StartPolicy", 0): {"posts", "waits"},
}
# Policies of this stack on roles of the relay's.
ON_RELAY = {
    Piece("StatusStateMachineRole/describe-work", 0): {"tells"},
    Piece("IngressIntegrationRole/stop-work", 0): {"stops"},
}


@dataclass(frozen=True)
class Worked:
    """A relay with the workflow beside it, and one execution that has ended."""

    relay: Relay
    outputs: dict[str, str]
    ended: str

    def arn(self, name: str) -> str:
        return f"{self.outputs['StateMachineArn'].replace(':stateMachine:', ':execution:')}:{name}"

    def start(self, *, waits: bool) -> str | None:
        name = unique("work")
        given = {"id": name, "destination": "default", "events": [], "waits": waits}
        answer = self.relay.start(name, json.dumps(given).encode(), workflow="work")
        return name if answer.status == 200 else None


@pytest.fixture(scope="module")
def worked(aws: EmbeddedAws) -> Iterator[Worked]:
    with Webhook() as webhook:
        relay = new_relay(aws, webhook)
        outputs = deploy_workflow(
            aws.client,
            ALL_GRANTED,
            relay_stack=relay.stack_name,
            options=DeployOptions(poll_s=POLL_S),
        )
        first = Worked(relay, outputs, "")
        name = first.start(waits=False)
        assert name is not None
        assert _status(first, name) == "SUCCEEDED"
        yield Worked(relay, outputs, name)


def _status(worked: Worked, name: str) -> str:
    return str(wait_for_execution(worked.relay.aws, worked.arn(name))["status"])


def _waits(worked: Worked, name: str) -> bool:
    """Wait until the execution has written its token down, or has failed to."""
    states = worked.relay.aws.client("stepfunctions")
    while states.describe_execution(executionArn=worked.arn(name))["status"] == "RUNNING":
        if read_wait(worked.relay.aws, worked.relay.outputs, name):
            return True
        time.sleep(POLL_S)
    return False


def _broken(worked: Worked) -> set[str]:
    """Try everything that the stack allows, and return what fails."""
    relay = worked.relay

    def posts() -> bool:
        name = worked.start(waits=False)
        return name is not None and _status(worked, name) == "SUCCEEDED"

    def waits() -> bool:
        name = worked.start(waits=True)
        if name is None or not _waits(worked, name):
            return False
        answer = send_signal(relay, {"name": name, "signal": "go", "by": {"kind": "relay"}})
        return answer.status == 200 and _status(worked, name) == "SUCCEEDED"

    def tells() -> bool:
        answer = relay.status(worked.arn(worked.ended))
        return answer.status == 200 and answer.json()["status"] == "SUCCEEDED"

    def stops() -> bool:
        answer = relay.stop(worked.arn(worked.ended))
        # A caller without permission does not learn that the execution has already ended.
        return answer.status == 200 or "not running" in answer.json().get("message", "")

    uses = {"posts": posts, "waits": waits, "tells": tells, "stops": stops}
    with ThreadPoolExecutor(len(uses)) as pool:
        found = dict(zip(uses, pool.map(lambda use: use(), uses.values()), strict=True))
    return {use for use, works in found.items() if not works}


def _documents(worked: Worked, piece: Piece) -> Documents:
    name = worked.relay.stack_name
    return Documents(worked.relay, stack_name=name if piece in ON_RELAY else KIND.stack_name(name, "work"))


def test_works_with_all_policies(worked: Worked) -> None:
    """Else every test below would pass for the wrong reason."""
    assert _broken(worked) == set()


@pytest.mark.parametrize("piece", [*OWN, *ON_RELAY], ids=str)
def test_each_piece_is_needed(piece: Piece, worked: Worked) -> None:
    documents = _documents(worked, piece)
    put_back = documents.replace(piece.document, piece.removed_from(documents.read(piece.document)))
    try:
        assert _broken(worked) == (OWN | ON_RELAY)[piece]
    finally:
        put_back()


def test_covers_every_policy() -> None:
    """All but the log's, the traces' and the calls'."""
    found = {
        f"{name}/{policy['PolicyName']}"
        for name, role in ResolvedWorkflow(ALL_GRANTED).of_type("IAM::Role").items()
        for policy in role["Policies"]
    }

    assert found - {"MachineRole/deliver-logs"} == {
        piece.document for piece in OWN if "/" in piece.document and "/trust" not in piece.document
    }
