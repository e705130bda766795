"""outputs shows what a stack offers."""

import json

import pytest

from infra.local.aws import EmbeddedAws
from tests.integration.infra.operating import Operator


def test_shows_outputs(operator: Operator) -> None:
    operator.deploy("--webhook-file", "webhook")

    assert "IngressAccessLogName    " in operator.run("outputs").out
    elsewhere = operator.run("outputs", "--region", "eu-west-1")
    assert elsewhere.code == 1
    assert f"there is no stack {operator.stack} in eu-west-1 of account" in elsewhere.err
    assert "--region" in elsewhere.err


@pytest.mark.parametrize("json_asked", [True, False])
def test_outputs_report_stack_status(aws: EmbeddedAws, operator: Operator, json_asked: bool) -> None:
    template = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(StackName=operator.stack, TemplateBody=template)
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=operator.stack, WaiterConfig={"Delay": 0.05, "MaxAttempts": 200}
    )

    ran = operator.run("outputs", *(["--json"] if json_asked else []))

    assert ran.code == 0
    assert ("{}" if json_asked else "has no outputs; its status is CREATE_COMPLETE") in ran.out


def test_outputs_use_region_of_settings(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    operator.env.write_text("VOICE_RELAY_AWS_REGION=eu-west-3\n")

    assert f"there is no stack {operator.stack} in eu-west-3" in operator.run("outputs").err
