"""A CloudFormation that gives the answers that the embedded AWS never gives."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import botocore.exceptions


def client_error(operation: str, code: str, message: str) -> botocore.exceptions.ClientError:
    return botocore.exceptions.ClientError({"Error": {"Code": code, "Message": message}}, operation)


class CloudFormation:
    """A stack that rests in *before*; what is done to it leads through *after*, of which the last stays.

    *events* are what happens then, told from the look on that *silent* ones have gone before; there is always
    one, as on AWS. *history* is how many there were before.
    """

    def __init__(
        self,
        before: str,
        after: Sequence[str] = (),
        events: Sequence[tuple[str, str, str]] = (("relay", "SOME_IN_PROGRESS", "User Initiated"),),
        *,
        silent: int = 0,
        history: int = 0,
    ) -> None:
        self._status = before
        self._after = list(after)
        self._silent = silent
        self._history = [_event(f"old {number}", "A", "SOME_FAILED", "Long ago") for number in range(history)]
        self._events = events
        self._happening: list[dict[str, str]] = []
        self.event_pages_read = 0
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
            raise client_error(
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
            raise client_error("DescribeEvents", "AccessDenied", "User: x is not authorized")
        return {"OperationEvents": self.findings}

    def delete_change_set(self, **given: Any) -> None:
        self.deleted.append("change set")

    def list_change_sets(self, **given: Any) -> Any:
        return {"Summaries": self.waiting}

    def validate_template(self, **given: Any) -> Any:
        names = ("WebhookSecret", "WebhookSecretVersion", "Destinations")
        return {"Parameters": [{"ParameterKey": name} for name in names]}

    def execute_change_set(self, **given: Any) -> None:
        self._begin()

    def delete_stack(self, StackName: str) -> None:  # noqa: N803
        self._begin()
        self.deleted.append(StackName)

    def _begin(self) -> None:
        self._history += self._happening
        number = len(self._history)
        self._happening = [_event(f"new {number} {each}", *event) for each, event in enumerate(self._events)]
        self.executed = True

    def get_paginator(self, operation: str) -> "_Pages":
        pages: dict[str, Callable[[], Iterable[Any]]] = {
            "describe_stack_events": self._event_pages,
            "describe_change_set": lambda: [{"Changes": []}],
            "list_stack_resources": lambda: [{"StackResourceSummaries": self.resources}],
        }
        return _Pages(pages[operation])

    def _event_pages(self) -> Iterator[Any]:
        told = list(self._history)
        if self.executed:
            told += self._happening if self._silent <= 0 else []
            self._silent -= 1
        # CloudFormation tells the newest first, and page by page.
        for event in reversed(told):
            self.event_pages_read += 1
            yield {"StackEvents": [event]}


class _Pages:
    def __init__(self, pages: Callable[[], Iterable[Any]]) -> None:
        self._pages = pages

    def paginate(self, **given: Any) -> Iterator[Any]:
        return iter(self._pages())


def _event(number: str, resource: str, status: str, reason: str) -> dict[str, str]:
    return {
        "EventId": number,
        "LogicalResourceId": resource,
        "ResourceType": "AWS::CloudFormation::Stack" if resource == "relay" else "AWS::Test",
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
    }
