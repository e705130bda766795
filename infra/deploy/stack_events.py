"""What happens to a stack's resources, as CloudFormation tells it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

from infra.deploy.aws_errors import one_line

# A resource that failed only because another one did.
_CONSEQUENCE: Final = ("cancelled", "canceled")
# What a stack says when it turns back, and what it says of it whoever was the cause.
_TURNS_BACK: Final = frozenset({"ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS"})
_NOBODY_ASKED: Final = "Rollback requested by user."


@dataclass(frozen=True)
class StackEvent:
    """Something that happened to a resource of the stack, or to the stack itself."""

    logical_id: str
    resource_type: str
    status: str
    reason: str

    @property
    def is_cause(self) -> bool:
        """Whether it is a failure of its own, not one that another brought down."""
        return is_cause(self.status, self.reason)

    @property
    def is_of_stack(self) -> bool:
        """Whether it happened to the stack itself (or to one that is nested in it)."""
        return self.resource_type == "AWS::CloudFormation::Stack"

    @property
    def why_back(self) -> str:
        """Why the stack turns back, where that is what happened; empty otherwise.

        No resource fails where an export that is in use would change, or a parameter could not be looked up:
        then only this says so.
        """
        turns_back = self.status in _TURNS_BACK
        return self.reason.removesuffix(_NOBODY_ASKED).rstrip() if turns_back else ""


@dataclass(frozen=True)
class StackResource:
    """A resource that the stack has now."""

    logical_id: str
    resource_type: str
    physical_id: str
    status: str
    reason: str

    @property
    def is_cause(self) -> bool:
        """Whether it failed of its own, and was not brought down by another."""
        return is_cause(self.status, self.reason)


OnEvent = Callable[[StackEvent], None]


def ignore(event: StackEvent) -> None:
    """Tell nobody."""


class EventLog:
    """The events of the stack *stack_id* from now on."""

    def __init__(self, cloudformation: Any, stack_id: str) -> None:
        self._pages = cloudformation.get_paginator("describe_stack_events")
        self._stack_id = stack_id
        # All that was before lies behind the newest event.
        newest = next(self._newest_first(), None)
        self._seen: set[str] = {newest["EventId"]} if newest else set()

    def new(self) -> list[StackEvent]:
        """What has happened since the last time that this was asked, oldest first."""
        # A stack keeps its events for as long as it lives, a hundred a page: no further back than need be.
        found = list(takewhile(lambda event: event["EventId"] not in self._seen, self._newest_first()))
        self._seen.update(event["EventId"] for event in found)
        return [parse_event(event) for event in reversed(found)]

    def _newest_first(self) -> Iterator[Any]:
        for page in self._pages.paginate(StackName=self._stack_id):
            yield from page["StackEvents"]


def is_cause(status: str, reason: str) -> bool:
    return status.endswith("_FAILED") and not any(word in reason.lower() for word in _CONSEQUENCE)


def parse_event(event: Any) -> StackEvent:
    return StackEvent(
        event["LogicalResourceId"],
        event["ResourceType"],
        event["ResourceStatus"],
        one_line(event.get("ResourceStatusReason", "")),
    )


def parse_resource(entry: Any) -> StackResource:
    return StackResource(
        entry["LogicalResourceId"],
        entry["ResourceType"],
        entry.get("PhysicalResourceId", ""),
        entry["ResourceStatus"],
        one_line(entry.get("ResourceStatusReason", "")),
    )


def parse_findings(events: Iterable[Any]) -> list[str]:
    """Return what was found wrong with a change set before anything was done, each with its resource."""
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_OperationEvent.html
    found = (
        f"{event.get('LogicalResourceId', '')}: {one_line(event['ValidationStatusReason'])}"
        for event in events
        if event.get("ValidationStatus") == "FAILED"
        and event.get("ValidationFailureMode") != "WARN"
        and event.get("ValidationStatusReason")
    )
    return list(dict.fromkeys(found))
