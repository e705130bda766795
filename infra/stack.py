"""One CloudFormation stack: created or updated through a change set, watched to the end, deleted.

Blocking, like botocore. Every failure comes out as a DeployError whose text is one line.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import botocore.exceptions

from bot.errors import RelayError


class DeployError(RelayError):
    """A stack could not be brought to where it should be; the text names the stack and the first reason."""


@dataclass(frozen=True)
class StackEvent:
    """Something that happened to a resource of the stack, or to the stack itself."""

    logical_id: str
    resource_type: str
    status: str
    reason: str


OnEvent = Callable[[StackEvent], None]

# How a change set says that there is nothing to do; there is no code for it.
_NOTHING_TO_DO = ("didn't contain changes", "No updates are to be performed")
# A resource that failed only because another one did.
_CONSEQUENCE = ("cancelled", "canceled")


@contextmanager
def _one_line_errors(stack_name: str) -> Iterator[None]:
    try:
        yield
    except botocore.exceptions.ClientError as error:
        code, message = error.response["Error"].get("Code"), error.response["Error"].get("Message")
        raise DeployError(f"stack {stack_name}: {error.operation_name}: {code}: {message}") from error
    except botocore.exceptions.BotoCoreError as error:
        raise DeployError(f"stack {stack_name}: {error}") from error


class Stack:
    """The stack *name*; *poll_s* is the pause between looks at it."""

    def __init__(self, cloudformation: Any, name: str, *, on_event: OnEvent, poll_s: float) -> None:
        self._client = cloudformation
        self._name = name
        self._on_event = on_event
        self._poll_s = poll_s

    def deploy(self, template: str, parameters: Mapping[str, str]) -> bool:
        """Bring the stack to *template*; False if it was there already.

        A parameter that is not named keeps the value that the stack has, or takes the template's default.
        """
        with _one_line_errors(self._name):
            stack = self._ready_for_change()
            change_set = self._create_change_set(stack, template, parameters)
            if change_set is None:
                return False
            seen = self._event_ids(change_set["StackId"])
            self._client.execute_change_set(ChangeSetName=change_set["ChangeSetId"])
            self._watch(change_set["StackId"], seen, {"CREATE_COMPLETE", "UPDATE_COMPLETE"})
            return True

    def delete(self) -> None:
        """Delete the stack and wait until it is gone; nothing to do if there is none."""
        with _one_line_errors(self._name):
            if stack := self._describe(self._name):
                seen = self._event_ids(stack["StackId"])
                self._client.delete_stack(StackName=stack["StackId"])
                self._watch(stack["StackId"], seen, {"DELETE_COMPLETE"})

    def outputs(self) -> dict[str, str]:
        """The stack's outputs by key."""
        with _one_line_errors(self._name):
            stack = self._describe(self._name)
        if stack is None:
            raise DeployError(f"stack {self._name}: there is none")
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    def _ready_for_change(self) -> Any:
        """The stack, or None where one must be created; what an earlier failed creation left is removed."""
        stack = self._describe(self._name)
        if stack is None or stack["StackStatus"] == "REVIEW_IN_PROGRESS":
            return None
        if stack["StackStatus"] == "ROLLBACK_COMPLETE":
            self.delete()
            return None
        if stack["StackStatus"].endswith("_IN_PROGRESS"):
            raise DeployError(f"stack {self._name}: another operation is under way: {stack['StackStatus']}")
        return stack

    def _create_change_set(self, stack: Any, template: str, parameters: Mapping[str, str]) -> Any:
        """An executable change set, or None if there is nothing to change."""
        given: list[dict[str, Any]] = [
            {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
        ]
        if stack:
            kept = self._kept_parameters(stack, template) - parameters.keys()
            given += [{"ParameterKey": key, "UsePreviousValue": True} for key in sorted(kept)]
        created = self._client.create_change_set(
            StackName=self._name,
            ChangeSetName=f"deploy-{uuid.uuid4()}",
            ChangeSetType="UPDATE" if stack else "CREATE",
            TemplateBody=template,
            Parameters=given,
            Capabilities=["CAPABILITY_IAM"],
        )
        while True:
            change_set = self._client.describe_change_set(ChangeSetName=created["Id"])
            if change_set["Status"] == "CREATE_COMPLETE":
                return change_set
            if change_set["Status"] == "FAILED":
                break
            time.sleep(self._poll_s)
        reason = change_set.get("StatusReason", "no reason given")
        self._client.delete_change_set(ChangeSetName=created["Id"])
        if stack and any(words in reason for words in _NOTHING_TO_DO):
            return None
        if not stack:
            # The shell of a stack that the change set came with.
            self._client.delete_stack(StackName=created["StackId"])
        raise DeployError(f"stack {self._name}: the change set failed: {reason}")

    def _kept_parameters(self, stack: Any, template: str) -> set[str]:
        """The parameters whose values can stay: those that the stack has and the template still knows."""
        declared = self._client.validate_template(TemplateBody=template).get("Parameters", [])
        return {entry["ParameterKey"] for entry in declared} & {
            entry["ParameterKey"] for entry in stack.get("Parameters", [])
        }

    def _describe(self, name: str) -> Any:
        try:
            stack = self._client.describe_stacks(StackName=name)["Stacks"][0]
        except botocore.exceptions.ClientError as error:
            if "does not exist" in error.response["Error"].get("Message", ""):
                return None
            raise
        # Asked by id, CloudFormation goes on to describe a stack that is gone.
        return stack if stack["StackStatus"] != "DELETE_COMPLETE" or name != self._name else None

    def _events(self, stack_id: str) -> list[Any]:
        """Every event of the stack, oldest first."""
        pages = self._client.get_paginator("describe_stack_events").paginate(StackName=stack_id)
        return [event for page in pages for event in page["StackEvents"]][::-1]

    def _event_ids(self, stack_id: str) -> set[str]:
        return {event["EventId"] for event in self._events(stack_id)}

    def _watch(self, stack_id: str, seen: set[str], wanted: set[str]) -> None:
        """Report events until the stack rests; raise the first failure unless it rests as *wanted*."""
        failure = ""
        while True:
            # The status before the events, so that the events of a final status have all been seen.
            stack = self._describe(stack_id)
            status = stack["StackStatus"] if stack else "DELETE_COMPLETE"
            for event in self._events(stack_id):
                if event["EventId"] in seen:
                    continue
                seen.add(event["EventId"])
                reason = event.get("ResourceStatusReason", "")
                self._on_event(
                    StackEvent(
                        event["LogicalResourceId"], event["ResourceType"], event["ResourceStatus"], reason
                    )
                )
                if event["ResourceStatus"].endswith("_FAILED") and not _is_consequence(reason):
                    failure = failure or f"{event['LogicalResourceId']}: {reason}"
            if not status.endswith("_IN_PROGRESS"):
                break
            time.sleep(self._poll_s)
        if status not in wanted:
            raise DeployError(
                f"stack {self._name}: {failure or (stack or {}).get('StackStatusReason', status)}"
            )


def _is_consequence(reason: str) -> bool:
    return any(word in reason.lower() for word in _CONSEQUENCE)
