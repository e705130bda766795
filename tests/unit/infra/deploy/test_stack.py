"""What a stack makes of the answers that the embedded AWS never gives."""

import pytest

from infra.deploy.aws_errors import DeployError
from infra.deploy.stack import Stack, StillInProgressError
from infra.deploy.stack_events import StackEvent
from tests.unit.infra.cloudformation import CloudFormation

SOURCE = {"TemplateBody": "{}"}


def _stack(client: CloudFormation, seen: list[StackEvent] | None = None) -> Stack:
    return Stack(client, "relay", on_event=(seen if seen is not None else []).append, poll_s=0)


def _deploy(client: CloudFormation, seen: list[StackEvent] | None = None) -> bool:
    stack = _stack(client, seen)
    change_set = stack.prepare(SOURCE, {})
    if change_set is not None:
        stack.execute(change_set)
    return change_set is not None


def test_has_changes_made_as_the_role_that_is_named_and_as_nobody_else_otherwise() -> None:
    client = CloudFormation("CREATE_COMPLETE")
    role = "arn:aws:iam::123456789012:role/deployer"

    Stack(client, "relay", on_event=print, poll_s=0, role_arn=role).prepare(SOURCE, {})
    assert client.asked["RoleARN"] == role

    _stack(client).prepare(SOURCE, {})
    assert "RoleARN" not in client.asked


def test_waits_until_the_stack_rests_and_tells_what_happened_in_order() -> None:
    client = CloudFormation(
        "none",
        ["CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS", "CREATE_COMPLETE"],
        [("A", "CREATE_IN_PROGRESS", ""), ("A", "CREATE_COMPLETE", ""), ("relay", "CREATE_COMPLETE", "")],
    )
    seen: list[StackEvent] = []

    assert _deploy(client, seen)
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
def test_does_not_take_the_status_before_the_operation_for_its_end(before: str, after: str) -> None:
    """AWS may need a moment to begin, and to let everybody see that it has."""
    shell = "REVIEW_IN_PROGRESS" if before == "none" else before
    events = [("relay", "SOME_IN_PROGRESS", ""), ("A", "SOME_COMPLETE", ""), ("relay", after, "")]
    client = CloudFormation(before, [shell, shell, shell, after], events, silent=2)
    seen: list[StackEvent] = []

    assert _deploy(client, seen)

    assert [(event.logical_id, event.status, event.reason) for event in seen] == events


def test_does_not_take_a_stack_for_undeletable_whose_deletion_has_not_begun() -> None:
    client = CloudFormation("CREATE_COMPLETE", ["CREATE_COMPLETE", "CREATE_COMPLETE", "none"], silent=9)

    _stack(client).delete()

    assert client.deleted == ["arn:stack"]


def test_an_old_stacks_history_is_neither_read_nor_told() -> None:
    client = CloudFormation(
        "CREATE_COMPLETE",
        ["UPDATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"],
        [("relay", "UPDATE_IN_PROGRESS", ""), ("relay", "UPDATE_COMPLETE", "")],
        history=100,
    )
    seen: list[StackEvent] = []

    assert _deploy(client, seen)

    assert [event.status for event in seen] == ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"]
    # One before, two more with what was new, one a look, and one more at the end.
    assert client.event_pages_read == 1 + 3 + 1 + 1 + 1 + 1


def test_waits_while_an_update_cleans_up() -> None:
    client = CloudFormation(
        "CREATE_COMPLETE", ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE"]
    )

    assert _deploy(client)
    assert client.describe_stacks("relay")["Stacks"][0]["StackStatus"] == "UPDATE_COMPLETE"


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [
        ("none", "ROLLBACK_COMPLETE", "gone again; put this right, then deploy again."),
        ("CREATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "as it was before, and works as it did."),
        ("CREATE_COMPLETE", "UPDATE_ROLLBACK_FAILED", "continue-update-rollback --stack-name relay"),
        ("none", "ROLLBACK_FAILED", "voice-relay destroy"),
        ("none", "SOMETHING_NEW_FAILED", "The stack is in SOMETHING_NEW_FAILED."),
    ],
)
def test_a_failure_is_its_first_reason_and_how_the_stack_was_left(before: str, after: str, left: str) -> None:
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
        _deploy(client)

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
def test_says_why_a_stack_turned_back_where_no_resource_failed(status: str, reason: str) -> None:
    client = CloudFormation(
        "CREATE_COMPLETE",
        [status, status.replace("IN_PROGRESS", "COMPLETE")],
        [("relay", "UPDATE_IN_PROGRESS", "User Initiated"), ("relay", status, reason)],
    )

    with pytest.raises(DeployError) as failed:
        _deploy(client)

    said = reason.removesuffix(" Rollback requested by user.").rstrip(".")
    assert str(failed.value).startswith(f"stack relay: {said}. ")


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ("UPDATE_IN_PROGRESS", "another operation is under way (UPDATE_IN_PROGRESS): wait until it is done"),
        ("DELETE_IN_PROGRESS", "under way"),
        ("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "under way"),
        ("CREATE_FAILED", "delete it with voice-relay destroy"),
        ("ROLLBACK_FAILED", "delete it with voice-relay destroy"),
        ("DELETE_FAILED", "voice-relay destroy again"),
        ("UPDATE_ROLLBACK_FAILED", "aws cloudformation continue-update-rollback --stack-name relay"),
        ("IMPORT_ROLLBACK_FAILED", "then deploy again"),
    ],
)
def test_a_stuck_stack_is_left_alone_and_named_with_the_next_step(status: str, sentence: str) -> None:
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
        _deploy(client)

    text = str(refused.value)
    assert sentence in text
    assert status in text
    if not status.endswith("_IN_PROGRESS"):
        assert "(BotUser: Cannot delete entity, must delete access keys first.)" in text
        assert "Request ID" not in text
    assert not client.executed
    assert client.deleted == []


def test_does_not_delete_what_something_else_works_on() -> None:
    client = CloudFormation("UPDATE_IN_PROGRESS")

    with pytest.raises(DeployError, match="under way"):
        _stack(client).delete()

    assert client.deleted == []


def test_names_what_could_not_be_deleted() -> None:
    client = CloudFormation(
        "CREATE_COMPLETE",
        ["DELETE_IN_PROGRESS", "DELETE_FAILED"],
        [("Role", "DELETE_FAILED", "must delete policies first.")],
    )

    with pytest.raises(DeployError) as failed:
        _stack(client).delete()

    assert str(failed.value) == (
        "stack relay: Role: must delete policies first. Put this right, then run the same command again."
    )


def test_clears_away_what_an_earlier_failed_creation_left() -> None:
    client = CloudFormation("ROLLBACK_COMPLETE", ["DELETE_COMPLETE", "CREATE_COMPLETE"])

    assert _deploy(client)
    assert client.deleted == ["arn:stack"]


def test_uses_the_shell_that_a_change_set_left() -> None:
    client = CloudFormation("REVIEW_IN_PROGRESS", ["CREATE_COMPLETE"])

    assert _deploy(client)
    assert client.deleted == []


@pytest.mark.parametrize(
    ("status", "deleted"),
    [
        pytest.param("none", ["change set", "arn:stack"], id="the shell of a new stack goes too"),
        pytest.param("CREATE_COMPLETE", ["change set"], id="a stack that was there stays"),
    ],
)
def test_says_why_a_change_set_failed_and_removes_it(status: str, deleted: list[str]) -> None:
    client = CloudFormation(status)
    client.refusal = "Transform failed"

    with pytest.raises(DeployError, match="the change set failed: Transform failed"):
        _deploy(client)

    assert client.deleted == deleted


CHECKS_FAILED = (
    "The following hook(s)/validation failed: [AWS::EarlyValidation::ResourceExistenceCheck]. To "
    "troubleshoot Early Validation errors, use the DescribeEvents API for detailed failure information."
)


def test_says_what_the_checks_of_a_change_set_have_found() -> None:
    """Each thing once, without what is no more than a warning."""
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
        _deploy(client)

    assert str(failed.value) == (
        "stack relay: the change set failed: Log: Resource of type 'AWS::Logs::LogGroup' named '/x' exists."
    )
    assert client.deleted == ["change set"]


def test_says_at_least_that_there_were_checks_to_who_may_not_ask_for_more() -> None:
    client = CloudFormation("CREATE_COMPLETE")
    client.refusal, client.findings = CHECKS_FAILED, None

    with pytest.raises(DeployError, match="EarlyValidation::ResourceExistenceCheck"):
        _deploy(client)


def test_keeps_a_shell_that_holds_somebody_elses_change_set() -> None:
    client = CloudFormation("none")
    client.waiting = ["another"]
    stack = _stack(client)
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
def test_a_change_set_without_changes_is_no_failure(reason: str) -> None:
    client = CloudFormation("UPDATE_COMPLETE")
    client.refusal = reason

    assert not _deploy(client)
    assert client.deleted == ["change set"]


def test_ctrl_c_says_that_aws_goes_on_and_how_to_look() -> None:
    client = CloudFormation("CREATE_COMPLETE", ["UPDATE_IN_PROGRESS"])

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    stack = Stack(client, "relay", on_event=lambda _: None, poll_s=2, sleep=interrupt)
    change_set = stack.prepare(SOURCE, {})
    assert change_set is not None

    with pytest.raises(StillInProgressError, match=r"goes on .* describe-stack-events --stack-name relay"):
        stack.execute(change_set)


def test_does_not_wait_where_nobody_wants_to() -> None:
    client = CloudFormation("CREATE_COMPLETE", ["UPDATE_IN_PROGRESS"])
    stack = _stack(client)
    change_set = stack.prepare(SOURCE, {})
    assert change_set is not None

    stack.execute(change_set, wait=False)

    assert client.executed


def test_names_the_parameter_that_may_be_meant() -> None:
    with pytest.raises(DeployError, match=r"no parameter Destination: did you mean Destinations\?"):
        _stack(CloudFormation("CREATE_COMPLETE")).prepare(SOURCE, {"Destination": "a"})
