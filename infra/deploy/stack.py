"""One CloudFormation stack: prepare and execute change sets, follow events, delete.

Blocking, like botocore. Every failure is a DeployError with a one-line message.
"""

import time
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import botocore.exceptions

from infra.deploy.aws_errors import DeployError, explained, one_line
from infra.deploy.change_set import ChangeSet, compare_parameters, parse_changes
from infra.deploy.parameters import explain_unknown, only_parameters
from infra.deploy.stack_events import EventLog, OnEvent, StackResource, parse_findings, parse_resource
from infra.deploy.stack_status import AFTER_FAILURE, CREATED, IN_PROGRESS, NO_STACK_YET, REMOVED_FIRST, STUCK

# {"TemplateBody": …} or {"TemplateURL": …}
TemplateSource = Mapping[str, str]

# The words of an empty change set; it has no code of its own.
_NOTHING_TO_DO: Final = ("didn't contain changes", "No updates are to be performed")
_GONE: Final = "DELETE_COMPLETE"
# The templates name users and roles, and one has a transform.
_CAPABILITIES: Final = ("CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND")


class StillInProgressError(KeyboardInterrupt):
    """Ctrl-C while AWS is working, which continues; the message says how to follow it."""


class Stack:
    """The stack *name*, polled every *poll_s* seconds.

    CloudFormation uses the caller's permissions, or those of the role *role_arn*.
    """

    def __init__(
        self,
        cloudformation: Any,
        name: str,
        *,
        on_event: OnEvent,
        poll_s: float,
        sleep: Callable[[float], None] = time.sleep,
        role_arn: str | None = None,
    ) -> None:
        self._client = cloudformation
        self.name = name
        self._on_event = on_event
        self._poll_s = poll_s
        self._sleep = sleep
        # CloudFormation remembers the role, so only a change set names it.
        self._role = {"RoleARN": role_arn} if role_arn else {}

    def defaults(self, source: TemplateSource) -> dict[str, str | None]:
        """Return the parameters that the template declares, with their defaults."""
        asked = {
            key: only_parameters(value) if key == "TemplateBody" else value for key, value in source.items()
        }
        with self._explained():
            declared = self._client.validate_template(**asked).get("Parameters", [])
        return {entry["ParameterKey"]: entry.get("DefaultValue") for entry in declared}

    def parameters(self) -> dict[str, str]:
        """Return the stack's current parameters; empty if there is no stack."""
        with self._explained():
            stack = self._describe(self.name)
        if stack is None or stack["StackStatus"] in NO_STACK_YET | REMOVED_FIRST:
            return {}
        return {entry["ParameterKey"]: entry["ParameterValue"] for entry in stack.get("Parameters", [])}

    def exists(self) -> bool:
        with self._explained():
            return self._describe(self.name) is not None

    def outputs(self) -> dict[str, str]:
        """Return the stack's outputs by key; raises DeployError if there is no stack."""
        with self._explained():
            stack = self._describe(self.name)
        if stack is None or stack["StackStatus"] in NO_STACK_YET:
            raise DeployError(f"stack {self.name} does not exist")
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    def resources(self) -> list[StackResource]:
        """Return the stack's resources; empty if there is no stack."""
        with self._explained():
            return self._resources(self.name) if self._describe(self.name) else []

    def importers(self) -> list[str]:
        """Return the names of the stacks that use this one's exports, without duplicates."""
        with self._explained():
            stack = self._describe(self.name)
            exports = [output.get("ExportName") for output in (stack or {}).get("Outputs", [])]
            found = (name for export in filter(None, exports) for name in self._importers(export))
            return list(dict.fromkeys(found))

    def prepare(self, source: TemplateSource, parameters: Mapping[str, str]) -> ChangeSet | None:
        """Create a change set that brings the stack to the template; None if nothing would change.

        An unnamed parameter keeps the stack's value, or takes the template's default. What a failed creation
        left behind is deleted first.
        """
        with self._explained():
            stack = self._ready_for_change()
            before = {entry["ParameterKey"]: entry["ParameterValue"] for entry in stack.get("Parameters", [])}
            defaults = self.defaults(source)
            self._check_names(parameters, defaults)
            kept = (defaults.keys() & before.keys()) - parameters.keys()
            created = self._create_change_set(stack, source, parameters, kept)
            if created is None:
                return None
            found = {name: value for name, value in defaults.items() if value is not None}
            after = found | {name: before[name] for name in kept} | dict(parameters)
            pages = self._client.get_paginator("describe_change_set").paginate(**self._named(created["Id"]))
            return ChangeSet(
                id=created["Id"],
                stack_id=created["StackId"],
                creates=not stack,
                changes=parse_changes(change for page in pages for change in page.get("Changes", [])),
                parameters=compare_parameters(before if stack else found, after),
            )

    def discard(self, change_set: ChangeSet) -> None:
        """Delete the change set, and the empty stack that was created with it."""
        with self._explained():
            self._client.delete_change_set(**self._named(change_set.id))
            if change_set.creates:
                self._delete_empty_stack(change_set.stack_id)

    def execute(self, change_set: ChangeSet, *, wait: bool = True) -> None:
        """Execute the change set; with *wait*, until it ends."""
        with self._explained():
            log = EventLog(self._client, change_set.stack_id)
            self._client.execute_change_set(**self._named(change_set.id))
            if wait:
                self._watch(change_set.stack_id, log, CREATED)

    def check_deletable(self) -> None:
        """Raise DeployError if the stack is busy or protected, so that a deletion would be refused."""
        with self._explained():
            stack = self._describe(self.name)
        if stack and _is_in_progress(stack["StackStatus"]):
            raise DeployError(self._blocked(stack))
        if stack and stack.get("EnableTerminationProtection"):
            raise DeployError(
                f"stack {self.name} has termination protection: turn it off with aws cloudformation "
                f"update-termination-protection --no-enable-termination-protection --stack-name {self.name}"
            )

    def delete(self) -> None:
        """Delete the stack, if it exists, and wait until it is gone."""
        self.check_deletable()
        with self._explained():
            if stack := self._describe(self.name):
                log = EventLog(self._client, stack["StackId"])
                self._client.delete_stack(StackName=stack["StackId"])
                self._watch(stack["StackId"], log, {_GONE})

    def _explained(self) -> Any:
        return explained(f"stack {self.name}")

    def _ready_for_change(self) -> Any:
        """Return the stack's description; empty if the stack must be created."""
        stack = self._describe(self.name)
        if stack is None or stack["StackStatus"] in NO_STACK_YET:
            return {}
        status = stack["StackStatus"]
        if status in REMOVED_FIRST:
            self.delete()
            return {}
        if status in STUCK or _is_in_progress(status):
            raise DeployError(self._blocked(stack))
        return stack

    def _check_names(self, parameters: Collection[str], declared: Collection[str]) -> None:
        for name in sorted(set(parameters) - set(declared)):
            raise DeployError(f"stack {self.name}: {explain_unknown(name, declared)}")

    def _blocked(self, stack: Any) -> str:
        status = stack["StackStatus"]
        if _is_in_progress(status):
            return f"stack {self.name}: {IN_PROGRESS.format(name=self.name, status=status)}"
        failed = [
            f"{resource.logical_id}: {resource.reason or resource.status}"
            for resource in self._resources(stack["StackId"])
            if resource.is_cause
        ]
        # If no resource has a reason, the stack may.
        why = "; ".join(failed) or one_line(stack.get("StackStatusReason") or "")
        remedy = STUCK[status].format(name=self.name)
        return f"stack {self.name} is stuck in {status}{f' ({why})' if why else ''}: {remedy}"

    def _named(self, change_set_id: str) -> dict[str, str]:
        # The id would be enough, but policies grant this on the stack's name.
        return {"StackName": self.name, "ChangeSetName": change_set_id}

    def _create_change_set(
        self, stack: Any, source: TemplateSource, parameters: Mapping[str, str], kept: Collection[str]
    ) -> Any:
        """Return the ids of an executable change set, or None if there is nothing to change."""
        given: list[dict[str, Any]] = [
            {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
        ]
        given += [{"ParameterKey": key, "UsePreviousValue": True} for key in sorted(kept)]
        created = self._client.create_change_set(
            StackName=self.name,
            ChangeSetName=f"deploy-{uuid.uuid4()}",
            ChangeSetType="UPDATE" if stack else "CREATE",
            Parameters=given,
            Capabilities=_CAPABILITIES,
            **source,
            **self._role,
        )
        while True:
            change_set = self._client.describe_change_set(**self._named(created["Id"]))
            if change_set["Status"] == "CREATE_COMPLETE":
                return created
            if change_set["Status"] == "FAILED":
                break
            self._sleep(self._poll_s)
        reason = self._validation_failures(created["Id"]) or change_set.get("StatusReason", "no reason given")
        self._client.delete_change_set(**self._named(created["Id"]))
        if stack and any(words in reason for words in _NOTHING_TO_DO):
            return None
        if not stack:
            self._delete_empty_stack(created["StackId"])
        raise DeployError(f"stack {self.name}: the change set failed: {one_line(reason)}")

    def _validation_failures(self, change_set_id: str) -> str:
        """Return what AWS's validation found wrong; empty if the change set failed for another reason.

        The change set's own status only says that validation failed.
        """
        try:
            answer = self._client.describe_events(
                **self._named(change_set_id), Filters={"FailedEvents": True}
            )
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
            # Without permission to ask, the change set's own reason has to do.
            return ""
        return "; ".join(parse_findings(answer.get("OperationEvents", [])))

    def _delete_empty_stack(self, stack_id: str) -> None:
        """Delete the empty stack that a change set created, unless it has another change set."""
        stack = self._describe(stack_id)
        waiting = self._client.list_change_sets(StackName=self.name).get("Summaries")
        if stack and stack["StackStatus"] in NO_STACK_YET and not waiting:
            self._client.delete_stack(StackName=stack_id)

    def _describe(self, name: str) -> Any:
        try:
            stack = self._client.describe_stacks(StackName=name)["Stacks"][0]
        except botocore.exceptions.ClientError as error:
            if "does not exist" in error.response["Error"].get("Message", ""):
                return None
            raise
        # By id, CloudFormation still describes a deleted stack.
        return stack if stack["StackStatus"] != _GONE or name != self.name else None

    def _resources(self, stack: str) -> list[StackResource]:
        pages = self._client.get_paginator("list_stack_resources").paginate(StackName=stack)
        return [parse_resource(entry) for page in pages for entry in page["StackResourceSummaries"]]

    def _importers(self, export: str) -> list[str]:
        try:
            pages = list(self._client.get_paginator("list_imports").paginate(ExportName=export))
        except botocore.exceptions.ClientError as error:
            # The answer for an unused export, and for one that does not exist.
            if "not imported" in error.response["Error"].get("Message", ""):
                return []
            raise
        return [name for page in pages for name in page["Imports"]]

    def _watch(self, stack_id: str, log: EventLog, wanted: Collection[str]) -> None:
        """Report events until the operation ends; raise the first failure unless it ends in *wanted*."""
        try:
            status, failure = self._follow(stack_id, log)
        except KeyboardInterrupt:
            raise StillInProgressError(
                f"stack {self.name}: AWS continues; follow it with "
                f"aws cloudformation describe-stack-events --stack-name {self.name}"
            ) from None
        if status not in wanted:
            after = AFTER_FAILURE.get(status, f"The stack is in {status}").format(name=self.name)
            raise DeployError(f"stack {self.name}: {failure.rstrip('.')}. {after}.")

    def _follow(self, stack_id: str, log: EventLog) -> tuple[str, str]:
        """Return the stack's final status and the first reason of a failure."""
        failure = rollback_reason = ""
        begun = False
        while True:
            events = log.new()
            stack = self._describe(stack_id)
            status = stack["StackStatus"] if stack else _GONE
            # Before the operation begins, the status is still that of the previous one. It has begun if an
            # earlier poll said so, or if the newest event is the stack's own and matches the status.
            begun = begun or (bool(events) and events[-1].is_of_stack and events[-1].status == status)
            ended = status == _GONE or (begun and not _is_in_progress(status) and status not in NO_STACK_YET)
            begun = begun or bool(events) or _is_in_progress(status)
            # Once the status is final, so are the events.
            for event in [*events, *(log.new() if ended else [])]:
                self._on_event(event)
                if event.is_cause:
                    failure = failure or f"{event.logical_id}: {event.reason}"
                rollback_reason = rollback_reason or event.rollback_reason
            if ended:
                last = one_line((stack or {}).get("StackStatusReason") or status)
                return status, failure or rollback_reason or last
            self._sleep(self._poll_s)


def _is_in_progress(status: str) -> bool:
    return status.endswith("_IN_PROGRESS") and status not in NO_STACK_YET
