"""The webhook's token and the bot's key appear only where they belong."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.aws import EmbeddedAws
from tests.integration.infra.operating import Operator, operating, relay_of
from tests.integration.infra.relay import Webhook, unique


@pytest.fixture
def operator(
    aws: EmbeddedAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Operator]:
    with operating(aws, tmp_path, monkeypatch, capsys) as operator:
        yield operator


def _shown_by_cloudformation(aws: EmbeddedAws, stack: str) -> dict[str, Any]:
    cloudformation = aws.client("cloudformation")
    change_sets = cloudformation.list_change_sets(StackName=stack)["Summaries"]
    return {
        "template as sent": cloudformation.get_template(StackName=stack, TemplateStage="Original"),
        "template as processed": cloudformation.get_template(StackName=stack, TemplateStage="Processed"),
        "template summary": cloudformation.get_template_summary(StackName=stack),
        "stack, parameters and outputs": cloudformation.describe_stacks(StackName=stack),
        "events": cloudformation.describe_stack_events(StackName=stack),
        "resources": cloudformation.describe_stack_resources(StackName=stack),
        "change sets": [
            cloudformation.describe_change_set(ChangeSetName=each["ChangeSetId"]) for each in change_sets
        ],
        "exports": cloudformation.get_paginator("list_exports").paginate().build_full_result(),
    }


def _shown_by_executions(aws: EmbeddedAws, outputs: dict[str, str]) -> dict[str, Any]:
    states = aws.client("stepfunctions")
    shown: dict[str, Any] = {}
    for key in ("NotifyStateMachineArn", "DigestStateMachineArn"):
        shown[f"{key}'s definition"] = states.describe_state_machine(stateMachineArn=outputs[key])
        for execution in states.list_executions(stateMachineArn=outputs[key])["executions"]:
            arn = execution["executionArn"]
            shown[f"{arn}, input and output"] = states.describe_execution(executionArn=arn)
            shown[f"{arn}, history"] = states.get_execution_history(executionArn=arn)
    return shown


def _shown_by_logs(aws: EmbeddedAws, stack: str) -> dict[str, Any]:
    logs = aws.client("logs")
    groups = [
        group["logGroupName"]
        for group in logs.get_paginator("describe_log_groups").paginate().build_full_result()["logGroups"]
    ]
    return {name: logs.filter_log_events(logGroupName=name) for name in groups if stack in name}


def test_shows_no_secret(aws: EmbeddedAws, operator: Operator) -> None:
    """No AWS answer, log or output shows a secret over a stack's whole life, failures included."""
    written: list[str] = []

    def run(*arguments: str) -> None:
        ran = operator.run(*arguments)
        written.extend((ran.out, ran.err))

    with Webhook() as webhook, Webhook() as other:
        secrets = {url.rpartition("/")[2] for url in (webhook.url,)} | {"0ther-webhook_token"}
        Path("webhook").write_text(webhook.url)
        Path("mods").write_text(other.url.rpartition("/")[0] + "/0ther-webhook_token")
        run("deploy", "--yes", "--webhook-file", "webhook", "--create-access-key")
        secrets.add(operator.values()["AWS_SECRET_ACCESS_KEY"])
        relay, name = relay_of(aws, webhook, operator), unique("fine")
        assert relay.start(name).status == 200
        assert relay.finished(name)["status"] == "SUCCEEDED"
        run("deploy", "--yes", "--webhook-file", "mods=mods", "--rotate-access-key")
        secrets.add(operator.values()["AWS_SECRET_ACCESS_KEY"])
        webhook.status, webhook.body = 404, json.dumps({"message": "Unknown Webhook", "code": 10015}).encode()
        relay, name = relay_of(aws, webhook, operator), unique("refused")
        assert relay.start(name).status == 200
        assert relay.finished(name)["status"] == "FAILED"
        run("deploy", "--yes", "--destination", "none")
        run("deploy", "--yes", "--parameter", "LogRetentionDays=4")
        run("outputs")
        assert len(secrets) == 4

        settings = operator.env.read_text()
        shown = {
            **_shown_by_cloudformation(aws, operator.stack),
            **_shown_by_executions(aws, operator.outputs()),
            **_shown_by_logs(aws, operator.stack),
        }
        assert sum("history" in name for name in shown) == 2
        run("destroy", "--yes")

    shown |= {"what the commands wrote": written, "the bot's settings": settings}
    allowed = {("the bot's settings", operator.values()["AWS_SECRET_ACCESS_KEY"])}
    found = {(name, secret) for name, value in shown.items() for secret in secrets if secret in repr(value)}
    # The settings file keeps the key; finding it there proves that the search works.
    assert found == allowed
