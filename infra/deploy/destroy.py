"""Deletes a stack, and the relay's secret with the relay's stack.

Checks first for what would make CloudFormation fail: stacks that use this one's exports, and policies that
were attached by hand. Access keys of the bot's user go first, because IAM deletes no user that has one.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from infra.deploy.access_key import AccessKeys
from infra.deploy.aws_errors import DeployError, explained
from infra.deploy.engine import DEFAULT_STACK_NAME, ClientFactory, DeclinedError, default_secret_name
from infra.deploy.stack import Stack, StillInProgressError
from infra.deploy.stack_events import OnEvent, StackResource, ignore
from infra.deploy.stack_kinds import STACK_KINDS
from infra.deploy.webhook_secret import ForeignSecretError, WebhookSecret, load_secret

_POLICY: Final = "AWS::IAM::ManagedPolicy"
_USER: Final = "AWS::IAM::User"
_ROLE: Final = "AWS::IAM::Role"
# As CloudFormation names the policy of a workflow's stack.
_START_POLICY: Final = re.compile(r"-workflow-.+-StartPolicy-")

# IAM's lists of a policy's principals: list, name field, resource type, and word in the CLI command.
_PRINCIPALS: Final = (
    ("PolicyUsers", "UserName", "AWS::IAM::User", "user"),
    ("PolicyRoles", "RoleName", "AWS::IAM::Role", "role"),
    ("PolicyGroups", "GroupName", "AWS::IAM::Group", "group"),
)


@dataclass(frozen=True)
class DestroyPlan:
    """What would be deleted: ``resources`` counted by type, and the access ``keys`` of each of its users."""

    stack_name: str
    exists: bool
    resources: Mapping[str, int] = field(default_factory=dict)
    keys: Mapping[str, Sequence[str]] = field(default_factory=dict)
    stack_id: str = ""
    secret_name: str | None = None
    destinations: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        return not self.exists and self.secret_name is None


def _approve(_: DestroyPlan) -> bool:
    return True


def destroy(
    client: ClientFactory,
    *,
    stack_name: str = DEFAULT_STACK_NAME,
    secret_name: str | None = None,
    has_secret: bool = True,
    keep_secret: bool = False,
    review: Callable[[DestroyPlan], bool] = _approve,
    on_event: OnEvent = ignore,
    poll_s: float = 2.0,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Delete the stack and the secret, if they exist.

    *has_secret* is ``False`` for any stack but the relay's. A secret that does not hold webhooks stays.
    Raises DeployError, DeclinedError.
    """
    stack = Stack(client("cloudformation"), stack_name, on_event=on_event, poll_s=poll_s, sleep=sleep)
    resources = stack.resources()
    _check_unused(client, stack, resources)
    secret = _load_secret(client, stack, secret_name) if has_secret and not keep_secret else None
    keys = {
        resource.physical_id: AccessKeys(client("iam"), resource.physical_id)
        for resource in resources
        if resource.resource_type == _USER and resource.physical_id
    }
    plan = _plan(client, stack, resources, keys, secret)
    if not plan.is_empty and not review(plan):
        raise DeclinedError(f"stack {stack_name}: nothing was deleted")
    with _reporting_deleted_keys(stack_name) as locked_out:
        for user, ids in plan.keys.items():
            for key_id in ids:
                keys[user].delete(key_id)
                locked_out.append(user)
        stack.delete()
    if secret is not None:
        secret.delete()


def _load_secret(client: ClientFactory, stack: Stack, name: str | None) -> WebhookSecret | None:
    # The stack's own parameter, because it may name another secret.
    name = name or stack.parameters().get("WebhookSecret") or default_secret_name(stack.name)
    with suppress(ForeignSecretError):
        return load_secret(client("secretsmanager"), name)
    return None


@contextmanager
def _reporting_deleted_keys(stack_name: str) -> Iterator[list[str]]:
    """On failure or Ctrl-C, add to the message that the users listed by the block are locked out already."""
    locked_out: list[str] = []
    try:
        yield locked_out
    except StillInProgressError:
        raise
    except (DeployError, KeyboardInterrupt) as error:
        if not locked_out:
            raise
        users = ", ".join(dict.fromkeys(locked_out))
        message = str(error).rstrip(".") or f"stack {stack_name}: it was not deleted"
        raise type(error)(
            f"{message}. The access keys of {users} are deleted, so the bot is locked out, but the stack "
            "still exists: run voice-relay destroy again to continue."
        ) from error


def describe_stack(client: ClientFactory, name: str) -> tuple[str, str]:
    """Return the ARN and the status of an existing stack."""
    with explained(f"stack {name}"):
        (stack,) = client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    return str(stack["StackId"]), str(stack["StackStatus"])


def _plan(
    client: ClientFactory,
    stack: Stack,
    resources: Sequence[StackResource],
    keys: Mapping[str, AccessKeys],
    secret: WebhookSecret | None,
) -> DestroyPlan:
    exists = stack.exists()
    here = secret is not None and secret.exists
    return DestroyPlan(
        stack_name=stack.name,
        exists=exists,
        resources=Counter(resource.resource_type for resource in resources),
        keys={user: ids for user, found in keys.items() if (ids := found.ids())},
        stack_id=describe_stack(client, stack.name)[0] if exists else "",
        secret_name=secret.name if here and secret else None,
        destinations=tuple(secret.urls) if secret else (),
    )


def _check_unused(client: ClientFactory, stack: Stack, resources: Sequence[StackResource]) -> None:
    """Raise DeployError if something outside the stack would block its deletion."""
    stack.check_deletable()
    if importers := stack.importers():
        commands = "; ".join(
            _destroy_command(name, _relay_of(client, name) or stack.name) for name in importers
        )
        raise DeployError(
            f"stack {stack.name}: {', '.join(importers)} {'uses' if len(importers) == 1 else 'use'} its "
            f"exports: delete that first with {commands}"
        )
    _check_roles(client, stack, resources)
    own = {(resource.resource_type, resource.physical_id) for resource in resources}
    own |= set(_attached_by_itself(stack.parameters()))
    policies = [each.physical_id for each in resources if each.resource_type == _POLICY and each.physical_id]
    found = [
        (word, name, policy)
        for policy in policies
        for kind, word, name in _principals(client("iam"), policy)
        if (kind, name) not in own
    ]
    if found:
        principals = ", ".join(f"{word} {name}" for word, name, _ in found)
        commands = "; ".join(
            f"aws iam detach-{word}-policy --{word}-name {name} --policy-arn {policy}"
            for word, name, policy in found
        )
        raise DeployError(
            f"stack {stack.name}: its policies are attached to {principals}; detach them first: {commands}"
        )


def _check_roles(client: ClientFactory, stack: Stack, resources: Sequence[StackResource]) -> None:
    """Raise DeployError if a workflow's stack has attached its policy to a role of this one.

    IAM deletes no role with a policy that CloudFormation does not know of.
    """
    roles = [each.physical_id for each in resources if each.resource_type == _ROLE and each.physical_id]
    commands = [
        f"aws iam detach-role-policy --role-name {role} --policy-arn {policy}"
        for role in roles
        for policy in _start_policies(client("iam"), role)
    ]
    if commands:
        raise DeployError(
            f"stack {stack.name}: its roles may start workflows that have stacks of their own; detach their "
            f"policies first: {'; '.join(commands)}"
        )


def _start_policies(iam: Any, role: str) -> Iterator[str]:
    with explained(f"role {role}"):
        try:
            pages = list(iam.get_paginator("list_attached_role_policies").paginate(RoleName=role))
        except iam.exceptions.NoSuchEntityException:
            return
    for page in pages:
        for policy in page["AttachedPolicies"]:
            if _START_POLICY.search(policy["PolicyName"]):
                yield policy["PolicyArn"]


def _attached_by_itself(parameters: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """List to whom a workflow's stack attaches its policy, so that CloudFormation detaches it too."""
    for parameter, kind in (("BotUsers", _USER), ("BotRoles", _ROLE)):
        for name in parameters.get(parameter, "").split(","):
            yield kind, name


def _relay_of(client: ClientFactory, stack_name: str) -> str | None:
    """Return the relay's stack to which another stack belongs, if it says so."""
    stack = Stack(client("cloudformation"), stack_name, on_event=ignore, poll_s=0)
    return stack.parameters().get("RelayStack")


def _destroy_command(stack_name: str, relay_stack: str) -> str:
    for kind in STACK_KINDS.values():
        name = kind.stack_name(relay_stack)
        if stack_name == name or (kind.is_workflow and stack_name.startswith(name)):
            title = f"{kind.name} {stack_name[len(name) :]}".rstrip()
            return f"voice-relay destroy {title} --relay-stack {relay_stack}"
    return f"aws cloudformation delete-stack --stack-name {stack_name}"


def _principals(iam: Any, policy: str) -> Iterator[tuple[str, str, str]]:
    """List who has the policy, as resource type, CLI word and name."""
    with explained(f"policy {policy}"):
        try:
            pages = list(iam.get_paginator("list_entities_for_policy").paginate(PolicyArn=policy))
        except iam.exceptions.NoSuchEntityException:
            return
    for page in pages:
        for listed, named, kind, word in _PRINCIPALS:
            for entity in page.get(listed, []):
                yield kind, word, entity[named]
