"""A stack against scripted answers of CloudFormation, for the tests of stacks."""

from infra.deploy.stack import Stack
from infra.deploy.stack_events import StackEvent
from tests.unit.infra.cloudformation import CloudFormation

SOURCE = {"TemplateBody": "{}"}


def open_stack(client: CloudFormation, seen: list[StackEvent] | None = None) -> Stack:
    return Stack(client, "relay", on_event=(seen if seen is not None else []).append, poll_s=0)


def deploy(client: CloudFormation, seen: list[StackEvent] | None = None) -> bool:
    stack = open_stack(client, seen)
    change_set = stack.prepare(SOURCE, {})
    if change_set is not None:
        stack.execute(change_set)
    return change_set is not None
