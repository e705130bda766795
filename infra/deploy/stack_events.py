"""Stack events and resources, parsed from CloudFormation's answers."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

from infra.deploy.aws_errors import one_line

# In the reason of a resource that failed only because another one did.
_CONSEQUENCE: Final = ("cancelled", "canceled")
_ROLLING_BACK: Final = frozenset({"ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS"})
# CloudFormation appends this to every rollback's reason, requested or not.
_ROLLBACK_SUFFIX: Final = "Rollback requested by user."


@dataclass(frozen=True)
class StackEvent:
    """One event of a resource or of the stack itself."""

    logical_id: str
    resource_type: str
    status: str
    reason: str

    @property
    def is_cause(self) -> bool:
        """Whether this is a root cause, not the consequence of another failure."""
        return is_cause(self.status, self.reason)

    @property
    def is_of_stack(self) -> bool:
        """Whether it concerns the stack itself (or a nested stack)."""
        return self.resource_type == "AWS::CloudFormation::Stack"

    @property
    def rollback_reason(self) -> str:
        """Why the stack rolls back; empty for any other event.

        If an update would change an export in use, or a parameter cannot be resolved, no resource fails and
        this is the only explanation.
        """
        rolling_back = self.status in _ROLLING_BACK
        return self.reason.removesuffix(_ROLLBACK_SUFFIX).rstrip() if rolling_back else ""


@dataclass(frozen=True)
class StackResource:
    """A resource in the stack's current state."""

    logical_id: str
    resource_type: str
    physical_id: str
    status: str
    reason: str

    @property
    def is_cause(self) -> bool:
        """Whether this is a root cause, not the consequence of another failure."""
        return is_cause(self.status, self.reason)


OnEvent = Callable[[StackEvent], None]


def ignore(event: StackEvent) -> None:
    """Discard *event*."""


class EventLog:
    """Reads the events of the stack *stack_id* that happen after it is made."""

    def __init__(self, cloudformation: Any, stack_id: str) -> None:
        self._pages = cloudformation.get_paginator("describe_stack_events")
        self._stack_id = stack_id
        # Everything older lies behind the newest event.
        newest = next(self._newest_first(), None)
        self._seen: set[str] = {newest["EventId"]} if newest else set()

    def new(self) -> list[StackEvent]:
        """Return the events since the last call, oldest first."""
        # A stack keeps all its events, a hundred per page, so read no further back than needed.
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
    """Return the failed checks of a change set's validation, each with its resource."""
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_OperationEvent.html
    found = (
        f"{event.get('LogicalResourceId', '')}: {one_line(event['ValidationStatusReason'])}"
        for event in events
        if event.get("ValidationStatus") == "FAILED"
        and event.get("ValidationFailureMode") != "WARN"
        and event.get("ValidationStatusReason")
    )
    return list(dict.fromkeys(found))
