"""What a deployment makes of the answers that the embedded AWS never gives."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import botocore.exceptions
import pydantic
import pytest

from infra.deploy import DeployError, StackEvent, deploy
from infra.stack import Stack

URL = "https://discord.test/api/webhooks/99/s3cret-webhook_token"


def _client_error(operation: str, code: str, message: str) -> botocore.exceptions.ClientError:
    return botocore.exceptions.ClientError({"Error": {"Code": code, "Message": message}}, operation)


class CloudFormation:
    """Goes through *statuses* of one stack, a status each time that it is described; the last one stays."""

    def __init__(self, statuses: Sequence[str], events: Sequence[tuple[str, str, str]] = ()) -> None:
        self._statuses = list(statuses)
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
        self.refusal = ""
        self.deleted: list[str] = []

    def describe_stacks(self, StackName: str) -> Any:  # noqa: N803
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        if status == "none":
            raise _client_error(
                "DescribeStacks", "ValidationError", f"Stack with id {StackName} does not exist"
            )
        return {"Stacks": [{"StackId": "arn:stack", "StackStatus": status, "Parameters": []}]}

    def create_change_set(self, **given: Any) -> Any:
        return {"Id": "arn:change", "StackId": "arn:stack"}

    def describe_change_set(self, **given: Any) -> Any:
        if self.refusal:
            return {"Status": "FAILED", "StatusReason": self.refusal}
        return {"Status": "CREATE_COMPLETE", "ChangeSetId": "arn:change", "StackId": "arn:stack"}

    def delete_change_set(self, **given: Any) -> None:
        self.deleted.append("change set")

    def validate_template(self, **given: Any) -> Any:
        return {}

    def execute_change_set(self, **given: Any) -> None:
        self.executed = True

    def delete_stack(self, StackName: str) -> None:  # noqa: N803
        self.deleted.append(StackName)

    def get_paginator(self, operation: str) -> "CloudFormation":
        assert operation == "describe_stack_events"
        return self

    def paginate(self, **given: Any) -> Iterator[Any]:
        # Page by page, as for a stack with a long history; nothing happened before the deployment began.
        for event in self._events if self.executed else []:
            yield {"StackEvents": [event]}


def _stack(client: CloudFormation, seen: list[StackEvent] | None = None) -> Stack:
    return Stack(client, "relay", on_event=(seen if seen is not None else []).append, poll_s=0)


def test_waits_until_the_stack_rests_and_tells_what_happened_in_order() -> None:
    client = CloudFormation(
        ["none", "CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS", "CREATE_COMPLETE"],
        [("A", "CREATE_IN_PROGRESS", ""), ("A", "CREATE_COMPLETE", ""), ("relay", "CREATE_COMPLETE", "")],
    )
    seen: list[StackEvent] = []

    assert _stack(client, seen).deploy("{}", {})
    assert [(event.logical_id, event.status) for event in seen] == [
        ("A", "CREATE_IN_PROGRESS"),
        ("A", "CREATE_COMPLETE"),
        ("relay", "CREATE_COMPLETE"),
    ]


def test_names_the_first_failure_and_not_what_it_brought_down() -> None:
    client = CloudFormation(
        ["none", "ROLLBACK_IN_PROGRESS", "ROLLBACK_COMPLETE"],
        [
            ("B", "CREATE_FAILED", "Resource creation cancelled"),
            ("A", "CREATE_FAILED", "Not authorized"),
            ("C", "CREATE_FAILED", "Later trouble"),
        ],
    )

    with pytest.raises(DeployError, match=r"^stack relay: A: Not authorized$"):
        _stack(client).deploy("{}", {})


def test_does_not_disturb_an_operation_that_is_under_way() -> None:
    client = CloudFormation(["UPDATE_IN_PROGRESS"])

    with pytest.raises(DeployError, match="under way: UPDATE_IN_PROGRESS"):
        _stack(client).deploy("{}", {})

    assert not client.executed


def test_clears_away_what_an_earlier_failed_creation_left() -> None:
    client = CloudFormation(["ROLLBACK_COMPLETE", "ROLLBACK_COMPLETE", "DELETE_COMPLETE", "CREATE_COMPLETE"])

    assert _stack(client).deploy("{}", {})
    assert client.deleted == ["arn:stack"]


@pytest.mark.parametrize(
    ("status", "deleted"),
    [
        pytest.param("none", ["change set", "arn:stack"], id="the shell of a new stack goes too"),
        pytest.param("CREATE_COMPLETE", ["change set"], id="a stack that was there stays"),
    ],
)
def test_says_why_a_change_set_failed_and_removes_it(status: str, deleted: list[str]) -> None:
    client = CloudFormation([status])
    client.refusal = "Transform failed"

    with pytest.raises(DeployError, match="the change set failed: Transform failed"):
        _stack(client).deploy("{}", {})

    assert client.deleted == deleted


@pytest.mark.parametrize(
    "reason",
    [
        "The submitted information didn't contain changes. Submit different information.",
        "No updates are to be performed.",
    ],
)
def test_a_change_set_without_changes_is_no_failure(reason: str) -> None:
    client = CloudFormation(["UPDATE_COMPLETE"])
    client.refusal = reason

    assert not _stack(client).deploy("{}", {})
    assert client.deleted == ["change set"]


class Secrets:
    """Holds the webhook already."""

    class exceptions:  # noqa: N801
        class ResourceNotFoundException(Exception):
            """Never raised."""

    def get_secret_value(self, SecretId: str) -> Any:  # noqa: N803
        return {"ARN": f"arn:{SecretId}", "VersionId": "1", "SecretString": json.dumps({"default": URL})}


def test_tells_nobody_the_webhook_where_a_service_quotes_it() -> None:
    client = CloudFormation(
        ["none", "ROLLBACK_COMPLETE"],
        [("A", "CREATE_FAILED", f"Invalid HTTP endpoint specified for URI: {URL}")],
    )
    seen: list[StackEvent] = []

    with pytest.raises(DeployError) as failed:
        deploy(
            lambda service: {"cloudformation": client, "secretsmanager": Secrets()}[service],
            webhook_url=pydantic.SecretStr(URL),
            on_event=seen.append,
            poll_s=0,
        )

    assert "/webhooks/99/…" in str(failed.value)
    for told in (str(failed.value), repr(failed.value.__cause__), repr(seen)):
        assert "s3cret-webhook_token" not in told


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            _client_error("DescribeStacks", "AccessDenied", "no"),
            "stack relay: DescribeStacks: AccessDenied: no",
        ),
        (botocore.exceptions.NoCredentialsError(), "stack relay: Unable to locate credentials"),
    ],
)
def test_a_refusal_is_one_line(error: Exception, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = CloudFormation(["none"])

    def refuse(**given: Any) -> Any:
        raise error

    monkeypatch.setattr(client, "describe_stacks", refuse)

    with pytest.raises(DeployError) as failed:
        _stack(client).deploy("{}", {})

    assert str(failed.value) == text
