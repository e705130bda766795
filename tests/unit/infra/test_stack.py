"""What a stack makes of the answers that the embedded AWS never gives."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import botocore.exceptions
import pydantic
import pytest

from infra.deploy import Conduct, DeclinedError, DeployError, StackEvent, deploy
from infra.destinations import DestinationWishes
from infra.stack import Stack, StillUnderWayError

URL = "https://discord.test/api/webhooks/99/s3cret-webhook_token"
SOURCE = {"TemplateBody": "{}"}


def _client_error(operation: str, code: str, message: str) -> botocore.exceptions.ClientError:
    return botocore.exceptions.ClientError({"Error": {"Code": code, "Message": message}}, operation)


class CloudFormation:
    """A stack that rests in *before*; what is done to it leads through *after*, of which the last stays."""

    def __init__(
        self, before: str, after: Sequence[str] = (), events: Sequence[tuple[str, str, str]] = ()
    ) -> None:
        self._status = before
        self._after = list(after)
        # CloudFormation tells the newest first.
        self._events = [
            {
                "EventId": str(number),
                "LogicalResourceId": resource,
                "ResourceType": "AWS::Test",
                "ResourceStatus": status,
                "ResourceStatusReason": reason,
            }
            for number, (resource, status, reason) in reversed(list(enumerate(events)))
        ]
        self.executed = False
        self.asked: dict[str, Any] = {}
        self.refusal = ""
        self.findings: list[dict[str, str]] | None = []
        self.resources: list[dict[str, str]] = []
        self.waiting: list[str] = []
        self.deleted: list[str] = []

    def describe_stacks(self, StackName: str) -> Any:  # noqa: N803
        if self.executed and self._after:
            self._status = self._after.pop(0)
        if self._status == "none":
            raise _client_error(
                "DescribeStacks", "ValidationError", f"Stack with id {StackName} does not exist"
            )
        return {"Stacks": [{"StackId": "arn:stack", "StackStatus": self._status, "Parameters": []}]}

    def create_change_set(self, **given: Any) -> Any:
        self.asked = given
        if self._status == "none":
            self._status = "REVIEW_IN_PROGRESS"
        return {"Id": "arn:change", "StackId": "arn:stack"}

    def describe_change_set(self, **given: Any) -> Any:
        if self.refusal:
            return {"Status": "FAILED", "StatusReason": self.refusal}
        return {"Status": "CREATE_COMPLETE", "ChangeSetId": "arn:change", "StackId": "arn:stack"}

    def describe_events(self, **given: Any) -> Any:
        if self.findings is None or "change set" in self.deleted:
            raise _client_error("DescribeEvents", "AccessDenied", "User: x is not authorized")
        return {"OperationEvents": self.findings}

    def delete_change_set(self, **given: Any) -> None:
        self.deleted.append("change set")

    def list_change_sets(self, **given: Any) -> Any:
        return {"Summaries": self.waiting}

    def validate_template(self, **given: Any) -> Any:
        names = ("WebhookSecret", "WebhookSecretVersion", "Destinations")
        return {"Parameters": [{"ParameterKey": name} for name in names]}

    def execute_change_set(self, **given: Any) -> None:
        self.executed = True

    def delete_stack(self, StackName: str) -> None:  # noqa: N803
        self.executed = True
        self.deleted.append(StackName)

    def get_paginator(self, operation: str) -> "_Pages":
        # Page by page, as for a stack with a long history; nothing happened before the deployment began.
        pages: dict[str, list[Any]] = {
            "describe_stack_events": [{"StackEvents": [each]} for each in self._events if self.executed],
            "describe_change_set": [{"Changes": []}],
            "list_stack_resources": [{"StackResourceSummaries": self.resources}],
        }
        return _Pages(pages[operation])


class _Pages:
    def __init__(self, pages: Sequence[Any]) -> None:
        self._pages = pages

    def paginate(self, **given: Any) -> Iterator[Any]:
        return iter(self._pages)


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

    with pytest.raises(StillUnderWayError, match=r"goes on .* describe-stack-events --stack-name relay"):
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


class Secrets:
    """Holds another webhook already."""

    class exceptions:  # noqa: N801
        class ResourceNotFoundException(Exception):
            """Never raised."""

    def __init__(self) -> None:
        self.put: list[str] = []

    def get_secret_value(self, SecretId: str) -> Any:  # noqa: N803
        return {"ARN": f"arn:{SecretId}", "VersionId": "1", "SecretString": json.dumps({"default": URL})}

    def put_secret_value(self, **given: Any) -> None:
        self.put.append(given["ClientRequestToken"])


def _deploy_relay(
    client: CloudFormation, secrets: Secrets, conduct: Conduct, url: str = URL, more: Sequence[str] = ()
) -> None:
    deploy(
        lambda service: {"cloudformation": client, "secretsmanager": secrets}[service],
        webhook_url=pydantic.SecretStr(url),
        destinations=DestinationWishes(webhooks={name: pydantic.SecretStr(url) for name in more}),
        conduct=conduct,
    )


@pytest.mark.parametrize(
    ("number", "reason", "bucket"),
    [
        (20, "Transformation data limit exceeded", True),
        (20, "Template may not exceed 51200 bytes in size.", True),
        (20, "Transform failed", False),
        (0, "Transformation data limit exceeded", False),
    ],
)
def test_names_the_bucket_where_many_destinations_make_the_template_too_large(
    number: int, reason: str, bucket: bool
) -> None:
    client = CloudFormation("CREATE_COMPLETE")
    client.refusal = reason
    more = [f"d{each}" for each in range(number)]

    with pytest.raises(DeployError) as failed:
        _deploy_relay(client, Secrets(), Conduct(poll_s=0), more=more)

    assert str(failed.value).startswith(f"stack voice-relay: the change set failed: {reason}")
    assert ("21 destinations" in str(failed.value) and "--bucket" in str(failed.value)) is bucket


def test_tells_nobody_the_webhook_where_a_service_quotes_it() -> None:
    client = CloudFormation(
        "none",
        ["ROLLBACK_COMPLETE"],
        [("A", "CREATE_FAILED", f"Invalid HTTP endpoint specified for URI: {URL}")],
    )
    seen: list[StackEvent] = []

    with pytest.raises(DeployError) as failed:
        _deploy_relay(client, Secrets(), Conduct(on_event=seen.append, poll_s=0))

    assert "/webhooks/99/…" in str(failed.value)
    for told in (str(failed.value), repr(failed.value.__cause__), repr(seen)):
        assert "s3cret-webhook_token" not in told


@pytest.mark.parametrize("answer", ["no", "ctrl-c"])
@pytest.mark.parametrize(
    ("status", "deleted"), [("none", ["change set", "arn:stack"]), ("CREATE_COMPLETE", ["change set"])]
)
def test_a_deployment_that_is_declined_changes_nothing(answer: str, status: str, deleted: list[str]) -> None:
    client, secrets = CloudFormation(status), Secrets()

    def review(_: object) -> bool:
        assert not secrets.put
        if answer == "ctrl-c":
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt if answer == "ctrl-c" else DeclinedError):
        _deploy_relay(client, secrets, Conduct(review=review, poll_s=0), url="https://discord.test/other")

    assert client.deleted == deleted
    assert secrets.put == []


def test_takes_the_change_set_back_where_the_secret_cannot_be_written() -> None:
    class Refusing(Secrets):
        def put_secret_value(self, **given: Any) -> None:
            raise _client_error("PutSecretValue", "AccessDeniedException", "no")

    client = CloudFormation("none")

    with pytest.raises(DeployError, match=r"not stored in secret .* AWS refuses PutSecretValue"):
        _deploy_relay(client, Refusing(), Conduct(poll_s=0), url="https://discord.test/other")

    assert client.deleted == ["change set", "arn:stack"]
