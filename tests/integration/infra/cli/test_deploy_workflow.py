"""``voice-relay deploy workflow``, ``outputs workflow`` and ``destroy workflow``, as they are typed."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra.local.aws import EmbeddedAws
from tests.integration.infra.operating import Operator, Ran, relay_of
from tests.integration.infra.relay import Relay, Webhook, unique, wait_for_execution

GREET: dict[str, Any] = {
    "QueryLanguage": "JSONata",
    "StartAt": "Greet",
    "States": {
        "Greet": {
            "Type": "Task",
            "Resource": "arn:${Partition}:states:::apigateway:invoke",
            "Arguments": {
                "ApiEndpoint": "${WebhookProxyHost}",
                "Method": "POST",
                "Path": "/destinations/default",
                "AuthType": "IAM_ROLE",
                "RequestBody": {"content": "{% 'Hello, ' & $states.input.events[0].data.user.id %}"},
            },
            "End": True,
        }
    },
}


class Workshop:
    """A deployed relay, and the command line for workflows beside it."""

    def __init__(self, operator: Operator, relay: Relay) -> None:
        self.operator = operator
        self.relay = relay

    def run(self, command: str, *arguments: str) -> Ran:
        return self.operator.run_bare(command, "workflow", *arguments, "--relay-stack", self.operator.stack)

    def deploy(self, *arguments: str) -> Ran:
        return self.run("deploy", *arguments, "--yes")


@pytest.fixture
def workshop(aws: EmbeddedAws, operator: Operator, webhook: Webhook) -> Workshop:
    Path("webhook").write_text(webhook.url)
    Path("greet.asl.json").write_text(json.dumps(GREET))
    assert operator.deploy("--webhook-file", "webhook", "--create-access-key").code == 0
    return Workshop(operator, relay_of(aws, webhook, operator))


def test_own_workflow_runs(aws: EmbeddedAws, workshop: Workshop, webhook: Webhook) -> None:
    """The bot's own key starts it and asks after it; deleting it takes its name out of .env."""
    ran = workshop.deploy("greet.asl.json", "--posts")

    assert (ran.code, ran.err) == (0, "")
    assert workshop.operator.values()["VOICE_RELAY_WORKFLOWS"] == "greet"
    outputs = json.loads(workshop.run("outputs", "greet", "--json").out)
    name, relay = unique("greet"), workshop.relay
    assert relay.start(name, workflow="greet").status == 200
    arn = f"{outputs['StateMachineArn'].replace(':stateMachine:', ':execution:')}:{name}"
    assert wait_for_execution(aws, arn)["status"] == "SUCCEEDED"
    assert json.loads(webhook.posted[0].body) == {"content": "Hello, 80351110224678912"}
    assert relay.status(arn).json()["status"] == "SUCCEEDED"

    destroyed = workshop.run("destroy", "greet", "--yes")

    assert (destroyed.code, destroyed.err) == (0, "")
    assert workshop.operator.values()["VOICE_RELAY_WORKFLOWS"] == ""
    assert relay.start(unique("greet"), workflow="greet").status == 404
