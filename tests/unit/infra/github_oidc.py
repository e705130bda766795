"""The pipeline's template and its policy statements, for the tests of its permissions."""

from collections.abc import Iterator
from typing import Any

from infra.deploy.stack_kinds import STACK_KINDS
from tooling.template_yaml import load_template

TEMPLATE = load_template(STACK_KINDS["github-oidc"].template.read_text())
RESOURCES: dict[str, Any] = {name: value["Properties"] for name, value in TEMPLATE["Resources"].items()}
DEPLOYED = {
    name: load_template(STACK_KINDS[name].template.read_text()) for name in ("relay", "service", "workflow")
}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(*resources: str) -> Iterator[dict[str, Any]]:
    """Yield every statement of the named policies, or of the named roles' inline policies."""
    for name in resources:
        properties = RESOURCES[name]
        for policy in properties.get("Policies", [properties]):
            yield from policy["PolicyDocument"]["Statement"]


def allowed(*resources: str) -> set[str]:
    return {
        action
        for statement in statements(*resources)
        if statement["Effect"] == "Allow"
        for action in listed(statement["Action"])
    }


def found(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every policy statement below *node*, including trust policies."""
    if isinstance(node, list):
        for item in node:
            yield from found(item)
    elif isinstance(node, dict):
        if {"Effect", "Action"} <= node.keys():
            yield node
        for value in node.values():
            yield from found(value)


POLICIES = [each["Ref"] for each in RESOURCES["CloudFormationRole"]["ManagedPolicyArns"]]
