"""Preparing change sets against answers that the embedded AWS never gives."""

import pytest

from infra.deploy.aws_errors import DeployError
from infra.deploy.stack import Stack
from tests.unit.infra.cloudformation import CloudFormation
from tests.unit.infra.deploy.stacks import SOURCE, deploy, open_stack
from tooling.locks import ROOT


def test_passes_the_role_arn() -> None:
    """The change set names the role if one is given, and none otherwise."""
    client = CloudFormation("CREATE_COMPLETE")
    role = "arn:aws:iam::123456789012:role/deployer"

    Stack(client, "relay", on_event=print, poll_s=0, role_arn=role).prepare(SOURCE, {})
    assert client.asked["RoleARN"] == role

    open_stack(client).prepare(SOURCE, {})
    assert "RoleARN" not in client.asked


def test_sends_the_whole_template() -> None:
    """A loop writes its parameter into the processed template, which a later update must not start from."""
    client = CloudFormation("UPDATE_COMPLETE")

    open_stack(client).prepare(SOURCE, {})

    assert SOURCE.items() <= client.asked.items()
    assert "UsePreviousTemplate" not in client.asked
    warning = (ROOT / "infra/README.md").read_text()
    assert "never `--use-previous-template`" in warning


def test_reuses_empty_stack() -> None:
    """An empty stack of an earlier change set is used, not deleted."""
    client = CloudFormation("REVIEW_IN_PROGRESS", ["CREATE_COMPLETE"])

    assert deploy(client)
    assert client.deleted == []


@pytest.mark.parametrize(
    ("status", "deleted"),
    [
        pytest.param("none", ["change set", "arn:stack"], id="an empty new stack is deleted too"),
        pytest.param("CREATE_COMPLETE", ["change set"], id="an existing stack stays"),
    ],
)
def test_deletes_failed_change_set(status: str, deleted: list[str]) -> None:
    """A failed change set is deleted, and the error gives its reason."""
    client = CloudFormation(status)
    client.refusal = "Transform failed"

    with pytest.raises(DeployError, match="the change set failed: Transform failed"):
        deploy(client)

    assert client.deleted == deleted


CHECKS_FAILED = (
    "The following hook(s)/validation failed: [AWS::EarlyValidation::ResourceExistenceCheck]. To "
    "troubleshoot Early Validation errors, use the DescribeEvents API for detailed failure information."
)


def test_reports_validation_failures() -> None:
    """Validation failures appear once each; warnings and skipped checks do not."""
    client = CloudFormation("CREATE_COMPLETE")
    client.refusal = CHECKS_FAILED
    found = {
        "LogicalResourceId": "Log",
        "ValidationStatus": "FAILED",
        "ValidationFailureMode": "FAIL",
        "ValidationStatusReason": "Resource of type 'AWS::Logs::LogGroup' named '/x' exists.",
    }
    warning = found | {"LogicalResourceId": "Queue", "ValidationFailureMode": "WARN"}
    skipped = found | {"LogicalResourceId": "Topic", "ValidationStatus": "SKIPPED"}
    client.findings = [{"EventType": "STACK_EVENT"}, found, found, warning, skipped]

    with pytest.raises(DeployError) as failed:
        deploy(client)

    assert str(failed.value) == (
        "stack relay: the change set failed: Log: Resource of type 'AWS::Logs::LogGroup' named '/x' exists."
    )
    assert client.deleted == ["change set"]


def test_falls_back_to_change_set_reason() -> None:
    """Without permission for DescribeEvents, the error is the change set's own reason."""
    client = CloudFormation("CREATE_COMPLETE")
    client.refusal, client.findings = CHECKS_FAILED, None

    with pytest.raises(DeployError, match="EarlyValidation::ResourceExistenceCheck"):
        deploy(client)


def test_keeps_shared_empty_stack() -> None:
    """Discarding a change set keeps an empty stack that has another one."""
    client = CloudFormation("none")
    client.waiting = ["another"]
    stack = open_stack(client)
    change_set = stack.prepare(SOURCE, {})
    assert change_set is not None

    stack.discard(change_set)

    assert client.deleted == ["change set"]


@pytest.mark.parametrize(
    "reason",
    [
        "The submitted information didn't contain changes. Submit different information.",
        "No updates are to be performed.",
    ],
)
def test_accepts_empty_change_set(reason: str) -> None:
    client = CloudFormation("UPDATE_COMPLETE")
    client.refusal = reason

    assert not deploy(client)
    assert client.deleted == ["change set"]


def test_suggests_parameter_name() -> None:
    with pytest.raises(DeployError, match=r"no parameter Destination: did you mean Destinations\?"):
        open_stack(CloudFormation("CREATE_COMPLETE")).prepare(SOURCE, {"Destination": "a"})
