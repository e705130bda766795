"""Single-machine mode with workflows beside the relay's."""

import json
from pathlib import Path
from typing import Any

import pydantic
import pytest

from bot.errors import SettingsError
from infra.deploy.workflow_stack import OwnWorkflow, load_workflow
from infra.local.machine import single_machine
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
                "RequestBody": {"content": "Hello"},
            },
            "End": True,
        }
    },
}


def _written(folder: Path, definition: dict[str, Any]) -> Path:
    path = folder / "greet.asl.json"
    path.write_text(json.dumps(definition))
    return path


async def test_runs_own_workflow(tmp_path: Path, webhook: Webhook) -> None:
    """Its stack, with further permissions, comes after the relay's, and the bot's key may start it."""
    (tmp_path / "greet.policy.json").write_text(
        json.dumps(
            [
                {
                    "Effect": "Allow",
                    "Action": "s3:GetObject",
                    "Resource": {"Fn::Sub": "arn:${AWS::Partition}:s3:::b/*"},
                }
            ]
        )
    )
    greet = load_workflow("greet", _written(tmp_path, GREET))

    async with single_machine(webhook_url=pydantic.SecretStr(webhook.url), workflows=[greet]) as machine:
        relay = Relay(machine.aws, webhook, "voice-relay", machine.outputs, machine.credentials)
        name = unique("greet")
        assert relay.start(name, workflow="greet").status == 200
        arn = f"arn:aws:states:us-east-1:{machine.aws.account_id}:execution:voice-relay-greet:{name}"
        assert wait_for_execution(machine.aws, arn)["status"] == "SUCCEEDED"
        role = machine.aws.client("cloudformation").describe_stack_resource(
            StackName="voice-relay-workflow-greet", LogicalResourceId="MachineRole"
        )["StackResourceDetail"]["PhysicalResourceId"]
        policy = machine.aws.client("iam").get_role_policy(RoleName=role, PolicyName="further-permissions")

    assert json.loads(webhook.posted[0].body) == {"content": "Hello"}
    assert policy["PolicyDocument"]["Statement"][0]["Resource"] == "arn:aws:s3:::b/*"


@pytest.mark.parametrize(
    ("placeholder", "sentence"),
    [
        (
            "ActionsActivity",
            "the workflow greet has the bot act in Discord: set VOICE_RELAY_ACTIONS to its actions for",
        ),
        (
            "CallUrl",
            r"greet calls another API: .* in a table \[greet\] of the file VOICE_RELAY_CONNECTIONS_FILE",
        ),
    ],
)
async def test_refuses_what_it_lacks(
    tmp_path: Path, webhook: Webhook, placeholder: str, sentence: str
) -> None:
    """Before anything is started."""
    workflow: OwnWorkflow = load_workflow(
        "greet", _written(tmp_path, {**GREET, "Comment": f"${{{placeholder}}}"})
    )

    with pytest.raises(SettingsError, match=sentence):
        async with single_machine(webhook_url=pydantic.SecretStr(webhook.url), workflows=[workflow]):
            pass


def test_unpermitted_task_is_named(tmp_path: Path) -> None:
    definition = json.loads(json.dumps(GREET).replace("apigateway:invoke", "lambda:invoke"))

    with pytest.raises(
        SettingsError, match=r"the task Greet of greet uses .*lambda:invoke, .* write .*greet\.policy"
    ):
        load_workflow("greet", _written(tmp_path, definition))


async def test_names_actions_to_allow(tmp_path: Path, webhook: Webhook) -> None:
    """The sentence fits voice-relay run, which lacks the setting, and send-test, which has no bot."""
    task = {"Type": "Task", "Resource": "${ActionsActivity}", "Arguments": {"action": "send"}, "End": True}
    workflow = load_workflow("greet", _written(tmp_path, {**GREET, "States": {"Greet": task}}))

    with pytest.raises(
        SettingsError, match=r"set VOICE_RELAY_ACTIONS to send for voice-relay run; .*send-test"
    ):
        async with single_machine(webhook_url=pydantic.SecretStr(webhook.url), workflows=[workflow]):
            pass
