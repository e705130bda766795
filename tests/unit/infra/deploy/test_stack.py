"""Stack operations against answers that the embedded AWS never gives."""

import pytest

from infra.deploy.aws_errors import DeployError
from infra.deploy.stack import Stack, StillInProgressError
from infra.deploy.stack_events import StackEvent
from tests.unit.infra.cloudformation import CloudFormation
from tests.unit.infra.deploy.stacks import SOURCE, deploy, open_stack


def test_reports_events_in_order() -> None:
    """A deployment waits for the final status and reports every event."""
    client = CloudFormation(
        "none",
        ["CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS", "CREATE_COMPLETE"],
        [("A", "CREATE_IN_PROGRESS", ""), ("A", "CREATE_COMPLETE", ""), ("relay", "CREATE_COMPLETE", "")],
    )
    seen: list[StackEvent] = []

    assert deploy(client, seen)
    assert [(event.logical_id, event.status) for event in seen] == [
        ("A", "CREATE_IN_PROGRESS"),
        ("A", "CREATE_COMPLETE"),
        ("relay", "CREATE_COMPLETE"),
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("UPDATE_COMPLETE", "UPDATE_COMPLETE", id="an update"),
        pytest.param("UPDATE_ROLLBACK_COMPLETE", "UPDATE_COMPLETE", id="an update after one that failed"),
        pytest.param("none", "CREATE_COMPLETE", id="a creation"),
    ],
)
def test_ignores_status_before_operation_begins(before: str, after: str) -> None:
    """AWS may need a moment to begin an operation and to show that it has."""
    shell = "REVIEW_IN_PROGRESS" if before == "none" else before
    events = [("relay", "SOME_IN_PROGRESS", ""), ("A", "SOME_COMPLETE", ""), ("relay", after, "")]
    client = CloudFormation(before, [shell, shell, shell, after], events, silent=2)
    seen: list[StackEvent] = []

    assert deploy(client, seen)

    assert [(event.logical_id, event.status, event.reason) for event in seen] == events


def test_waits_for_deletion_to_begin() -> None:
    """The old status right after DeleteStack does not count as a failed deletion."""
    client = CloudFormation("CREATE_COMPLETE", ["CREATE_COMPLETE", "CREATE_COMPLETE", "none"], silent=9)

    open_stack(client).delete()

    assert client.deleted == ["arn:stack"]


def test_skips_old_events() -> None:
    """Events from before the operation are neither read nor reported."""
    client = CloudFormation(
        "CREATE_COMPLETE",
        ["UPDATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"],
        [("relay", "UPDATE_IN_PROGRESS", ""), ("relay", "UPDATE_COMPLETE", "")],
        history=100,
    )
    seen: list[StackEvent] = []

    assert deploy(client, seen)

    assert [event.status for event in seen] == ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"]
    # One before, three with the new events, then one per poll and one at the end.
    assert client.event_pages_read == 1 + 3 + 1 + 1 + 1 + 1


def test_waits_for_update_cleanup() -> None:
    client = CloudFormation(
        "CREATE_COMPLETE", ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE"]
    )

    assert deploy(client)
    assert client.describe_stacks("relay")["Stacks"][0]["StackStatus"] == "UPDATE_COMPLETE"


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [
        ("none", "ROLLBACK_COMPLETE", "removed again; fix this, then deploy again."),
        ("CREATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "back to what it was and works as before."),
        ("CREATE_COMPLETE", "UPDATE_ROLLBACK_FAILED", "continue-update-rollback --stack-name relay"),
        ("none", "ROLLBACK_FAILED", "voice-relay destroy"),
        ("none", "SOMETHING_NEW_FAILED", "The stack is in SOMETHING_NEW_FAILED."),
    ],
)
def test_reports_first_failure_and_outcome(before: str, after: str, left: str) -> None:
    """The error names the first root cause and the state of the stack afterwards, on one line."""
    client = CloudFormation(
        before,
        ["ROLLBACK_IN_PROGRESS", after],
        [
            ("B", "CREATE_FAILED", "Resource creation cancelled"),
            (
                "A",
                "CREATE_FAILED",
                'Handler says: "Not\nauthorized" (RequestToken: 4f6a0c7e, HandlerErrorCode: AccessDenied)',
            ),
            ("C", "CREATE_FAILED", "Later trouble"),
        ],
    )

    with pytest.raises(DeployError) as failed:
        deploy(client)

    text = str(failed.value)
    assert text.startswith('stack relay: A: Handler says: "Not authorized". ')
    assert left in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("UPDATE_ROLLBACK_IN_PROGRESS", "Export relay-X cannot be updated as it is in use by service"),
        (
            "ROLLBACK_IN_PROGRESS",
            "No export named relay-ApiEndpoint found. Rollback requested by user.",
        ),
    ],
)
def test_reports_rollback_reason(status: str, reason: str) -> None:
    """If no resource failed, the error gives the reason of the rollback."""
    client = CloudFormation(
        "CREATE_COMPLETE",
        [status, status.replace("IN_PROGRESS", "COMPLETE")],
        [("relay", "UPDATE_IN_PROGRESS", "User Initiated"), ("relay", status, reason)],
    )

    with pytest.raises(DeployError) as failed:
        deploy(client)

    said = reason.removesuffix(" Rollback requested by user.").rstrip(".")
    assert str(failed.value).startswith(f"stack relay: {said}. ")


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ("UPDATE_IN_PROGRESS", "another operation is in progress (UPDATE_IN_PROGRESS): wait for it"),
        ("DELETE_IN_PROGRESS", "operation is in progress"),
        ("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "operation is in progress"),
        ("CREATE_FAILED", "delete it with voice-relay destroy"),
        ("ROLLBACK_FAILED", "delete it with voice-relay destroy"),
        ("DELETE_FAILED", "voice-relay destroy again"),
        ("UPDATE_ROLLBACK_FAILED", "aws cloudformation continue-update-rollback --stack-name relay"),
        ("IMPORT_ROLLBACK_FAILED", "then deploy again"),
    ],
)
def test_refuses_stuck_stack(status: str, sentence: str) -> None:
    """A stuck or busy stack is not touched, and the error names the next step."""
    client = CloudFormation(status)
    client.resources = [
        {
            "LogicalResourceId": "BotUser",
            "ResourceType": "AWS::IAM::User",
            "ResourceStatus": "DELETE_FAILED",
            "ResourceStatusReason": "Cannot delete entity, must delete access keys first. (Service: Iam, "
            "Status Code: 409, Request ID: 8a7)",
        },
        {
            "LogicalResourceId": "Other",
            "ResourceType": "AWS::IAM::Role",
            "ResourceStatus": "CREATE_COMPLETE",
        },
    ]

    with pytest.raises(DeployError) as refused:
        deploy(client)

    text = str(refused.value)
    assert sentence in text
    assert status in text
    if not status.endswith("_IN_PROGRESS"):
        assert "(BotUser: Cannot delete entity, must delete access keys first.)" in text
        assert "Request ID" not in text
    assert not client.executed
    assert client.deleted == []


def test_delete_refuses_busy_stack() -> None:
    client = CloudFormation("UPDATE_IN_PROGRESS")

    with pytest.raises(DeployError, match="operation is in progress"):
        open_stack(client).delete()

    assert client.deleted == []


def test_names_undeletable_resource() -> None:
    client = CloudFormation(
        "CREATE_COMPLETE",
        ["DELETE_IN_PROGRESS", "DELETE_FAILED"],
        [("Role", "DELETE_FAILED", "must delete policies first.")],
    )

    with pytest.raises(DeployError) as failed:
        open_stack(client).delete()

    assert str(failed.value) == (
        "stack relay: Role: must delete policies first. Fix this, then run the same command again."
    )


def test_deletes_rolled_back_stack_first() -> None:
    """What a failed creation left behind is deleted before the new one."""
    client = CloudFormation("ROLLBACK_COMPLETE", ["DELETE_COMPLETE", "CREATE_COMPLETE"])

    assert deploy(client)
    assert client.deleted == ["arn:stack"]


def test_ctrl_c_names_the_follow_command() -> None:
    """Ctrl-C says that AWS continues and how to follow it."""
    client = CloudFormation("CREATE_COMPLETE", ["UPDATE_IN_PROGRESS"])

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    stack = Stack(client, "relay", on_event=lambda _: None, poll_s=2, sleep=interrupt)
    change_set = stack.prepare(SOURCE, {})
    assert change_set is not None

    with pytest.raises(
        StillInProgressError, match=r"AWS continues; .* describe-stack-events --stack-name relay"
    ):
        stack.execute(change_set)


def test_executes_without_waiting() -> None:
    client = CloudFormation("CREATE_COMPLETE", ["UPDATE_IN_PROGRESS"])
    stack = open_stack(client)
    change_set = stack.prepare(SOURCE, {})
    assert change_set is not None

    stack.execute(change_set, wait=False)

    assert client.executed
