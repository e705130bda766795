"""``voice-relay destroy`` deletes everything, or nothing and says why."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.deploy.aws_errors import DeployError
from infra.deploy.stack import Stack
from infra.local.aws import EmbeddedAws
from tests.integration.infra.operating import Operator, Terminal, keys_of, operating
from tests.integration.infra.relay import unique


@pytest.fixture
def operator(
    aws: EmbeddedAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Operator]:
    with operating(aws, tmp_path, monkeypatch, capsys) as operator:
        yield operator


def _everything(aws: EmbeddedAws) -> dict[str, set[str]]:
    """List the account's resources by kind."""
    iam, apis = aws.client("iam"), aws.client("apigatewayv2")
    machines = aws.client("stepfunctions").list_state_machines()["stateMachines"]
    stacks = aws.client("cloudformation").list_stacks()["StackSummaries"]
    found: dict[str, set[Any]] = {
        "apis": {each["ApiId"] for each in apis.get_apis()["Items"]},
        "machines": {each["stateMachineArn"] for each in machines},
        "logs": {
            each["logGroupName"]
            for each in aws.client("logs")
            .get_paginator("describe_log_groups")
            .paginate()
            .build_full_result()["logGroups"]
        },
        "secrets": {each["Name"] for each in aws.client("secretsmanager").list_secrets()["SecretList"]},
        "users": {each["UserName"] for each in iam.list_users()["Users"]},
        "roles": {each["RoleName"] for each in iam.list_roles()["Roles"]},
        "policies": {each["Arn"] for each in iam.list_policies(Scope="Local")["Policies"]},
        "stacks": {each["StackName"] for each in stacks if each["StackStatus"] != "DELETE_COMPLETE"},
    }
    return found


def test_deletes_every_resource(aws: EmbeddedAws, operator: Operator) -> None:
    """Nothing of the stack, its secret or its keys is left, and the settings file is unchanged."""
    before = _everything(aws)
    operator.deploy("--webhook-file", "webhook", "--webhook-file", "mods=webhook", "--create-access-key")
    assert all(_everything(aws)[kind] - before[kind] for kind in before)
    settings = operator.env.read_bytes()

    ran = operator.run("destroy", "--yes")

    assert ran.code == 0, ran.err
    assert _everything(aws) == before
    assert "1  access keys of the user" in ran.out
    assert f"the secret {operator.stack}/webhooks, with the webhooks of: default, mods" in ran.out
    assert ".env still has VOICE_RELAY_API_ENDPOINT" in ran.out
    assert operator.env.read_bytes() == settings


def test_reports_missing_stack(operator: Operator) -> None:
    ran = operator.run("destroy", "--yes")

    assert ran.code == 0
    assert f"There is nothing to delete: there is no stack {operator.stack} in us-east-1" in ran.out


def test_keeps_secret_for_redeployment(aws: EmbeddedAws, operator: Operator) -> None:
    operator.deploy("--webhook-file", "webhook")

    assert operator.run("destroy", "--yes", "--keep-secret").code == 0

    assert operator.deploy().code == 0


def test_keeps_foreign_secret(aws: EmbeddedAws, operator: Operator) -> None:
    """A secret that does not hold webhook URLs is not deleted."""
    secrets, name = aws.client("secretsmanager"), f"{operator.stack}/webhooks"
    operator.deploy("--webhook-file", "webhook")
    secrets.put_secret_value(SecretId=name, SecretString="hunter2")

    assert operator.run("destroy", "--yes").code == 0

    assert secrets.get_secret_value(SecretId=name)["SecretString"] == "hunter2"


@pytest.mark.parametrize("asked", [True, False])
def test_requires_confirmation(
    aws: EmbeddedAws, operator: Operator, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    operator.deploy("--webhook-file", "webhook", "--create-access-key")
    monkeypatch.setattr(sys, "stdin", Terminal("n\n") if asked else io.StringIO("y\n"))

    ran = operator.run("destroy")

    assert ran.code == (1 if asked else 2)
    assert ("nothing was deleted" if asked else "give --yes to go ahead") in ran.err
    assert len(keys_of(aws, f"{operator.stack}-bot")) == 1
    assert operator.outputs()


def test_refuses_attached_policy(aws: EmbeddedAws, operator: Operator) -> None:
    """The error names the principal and the command that detaches the policy."""
    operator.deploy("--webhook-file", "webhook", "--create-access-key")
    policy, iam, name = operator.outputs()["BotPolicyArn"], aws.client("iam"), unique("server")
    iam.create_user(UserName=name)
    iam.attach_user_policy(UserName=name, PolicyArn=policy)

    ran = operator.run("destroy", "--yes")

    assert ran.code == 1
    command = f"aws iam detach-user-policy --user-name {name} --policy-arn {policy}"
    assert command in ran.err
    assert f"{operator.stack}-bot" not in ran.err
    assert len(keys_of(aws, f"{operator.stack}-bot")) == 1
    iam.detach_user_policy(UserName=name, PolicyArn=policy)
    assert operator.run("destroy", "--yes").code == 0


def test_refuses_stack_with_importers(aws: EmbeddedAws, operator: Operator) -> None:
    """The error names the importing stack and the command that deletes it."""
    operator.deploy("--webhook-file", "webhook")
    cloudformation, other = aws.client("cloudformation"), f"{operator.stack}-monitoring"
    topic = {"DisplayName": {"Fn::ImportValue": f"{operator.stack}-IngressApiId"}}
    template = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": topic}}}
    cloudformation.create_stack(StackName=other, TemplateBody=json.dumps(template))
    cloudformation.get_waiter("stack_create_complete").wait(StackName=other, WaiterConfig={"Delay": 0.05})

    ran = operator.run("destroy", "--yes")

    assert ran.code == 1
    command = f"voice-relay destroy monitoring --relay-stack {operator.stack}"
    assert f"{other} uses its exports: delete that first with {command}\n" in ran.err
    assert operator.outputs()
    ran = operator.run("destroy", "monitoring", "--stack-name", other, "--yes")
    assert ran.code == 0, ran.err
    assert "secret" not in ran.out


def test_protected_stack_keeps_access_key(aws: EmbeddedAws, operator: Operator) -> None:
    operator.deploy("--webhook-file", "webhook", "--create-access-key")
    cloudformation = aws.client("cloudformation")
    cloudformation.update_termination_protection(StackName=operator.stack, EnableTerminationProtection=True)

    ran = operator.run("destroy", "--yes")

    cloudformation.update_termination_protection(StackName=operator.stack, EnableTerminationProtection=False)
    assert ran.code == 1
    assert f"--no-enable-termination-protection --stack-name {operator.stack}" in ran.err
    assert len(keys_of(aws, f"{operator.stack}-bot")) == 1


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_interrupt_reports_deleted_keys(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after the keys are deleted says that the bot is locked out."""
    operator.deploy("--webhook-file", "webhook", "--create-access-key")
    with monkeypatch.context() as patch:
        patch.setattr(Stack, "delete", _interrupt)
        ran = operator.run("destroy", "--yes")

    assert ran.code == 130
    assert f"The access keys of {operator.stack}-bot are deleted, so the bot is locked out" in ran.err
    assert "the stack still exists: run voice-relay destroy again to continue" in ran.err
    assert operator.run("destroy", "--yes").code == 0


def test_refusal_reports_deleted_keys(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal after the keys are deleted says that the bot is locked out."""

    def refuse(_: Stack) -> None:
        raise DeployError("may not cloudformation:DeleteStack")

    operator.deploy("--webhook-file", "webhook", "--create-access-key")
    with monkeypatch.context() as patch:
        patch.setattr(Stack, "delete", refuse)
        ran = operator.run("destroy", "--yes")

    assert ran.code == 1
    assert "may not cloudformation:DeleteStack. The access keys of " in ran.err
    assert "the stack still exists" in ran.err
    assert operator.run("destroy", "--yes").code == 0


def test_interrupted_deletion_names_remaining_secret(
    aws: EmbeddedAws, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.deploy("--webhook-file", "webhook")
    with monkeypatch.context() as patch:
        patch.setattr(Stack, "_follow", _interrupt)
        ran = operator.run("destroy", "--yes")

    assert ran.code == 130
    assert f":stack/{operator.stack}/" in ran.err
    assert f"the secret {operator.stack}/webhooks is still there" in ran.err
    aws.client("cloudformation").get_waiter("stack_delete_complete").wait(
        StackName=operator.stack, WaiterConfig={"Delay": 0.05, "MaxAttempts": 200}
    )
    assert operator.run("destroy", "--yes").code == 0


def test_keep_secret_is_for_relay_only(operator: Operator) -> None:
    ran = operator.run("destroy", "monitoring", "--keep-secret", "--yes")

    assert ran.code == 2
    assert "--keep-secret applies to the relay and to connections only" in ran.err


def test_deletes_remains_of_failed_creation(aws: EmbeddedAws, operator: Operator) -> None:
    cloudformation = aws.client("cloudformation")
    cloudformation.create_change_set(
        StackName=operator.stack,
        ChangeSetName="never",
        ChangeSetType="CREATE",
        TemplateBody=json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}),
    )

    shown = operator.run("outputs")
    ran = operator.run("destroy", "--yes")

    assert shown.code == 1
    assert "does not exist" in shown.err
    assert ran.code == 0, ran.err
    assert f"the stack {operator.stack}, whose creation failed: it has no resources" in ran.out
