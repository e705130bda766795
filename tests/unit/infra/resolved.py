"""A template with its loops gone through and its references filled in, as an account has it."""

import json
import re
from pathlib import Path
from typing import Any

from infra.deploy.engine import TEMPLATE
from tooling.template_yaml import expand, load_template

DESTINATIONS = ("default", "mods")

_PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "123456789012",
    "AWS::StackName": "relay",
    "AWS::URLSuffix": "amazonaws.com",
}
ARN = "arn:aws:{service}:us-east-1:123456789012:{rest}"


class Resolved:
    """The expanded template; conditions hold, and an API's id is its logical id."""

    def __init__(self, path: Path = TEMPLATE, **parameters: str) -> None:
        template = load_template(path.read_text())
        given = {"Destinations": ",".join(DESTINATIONS), "WebhookSecret": "secret", "AllowedCidrs": "::/0"}
        self._parameters: dict[str, str] = {
            name: str(declared.get("Default", "")) for name, declared in template["Parameters"].items()
        } | (given | parameters)
        expanded = expand(template, **self._parameters)
        self._resources: dict[str, Any] = expanded["Resources"]
        self._outputs: dict[str, Any] = expanded["Outputs"]

    def of_type(self, kind: str) -> dict[str, Any]:
        """The properties of each resource of that type, by logical id."""
        return {
            name: self.value(resource["Properties"])
            for name, resource in self._resources.items()
            if resource["Type"] == f"AWS::{kind}"
        }

    def output(self, name: str) -> Any:
        return self.value(self._outputs[name]["Value"])

    def value(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.value(item) for item in node]
        if not isinstance(node, dict):
            return node
        match node:
            case {"Ref": name}:
                return self._ref(name)
            case {"Fn::GetAtt": [name, "Arn"]}:
                return self._ref(name)
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{([^!}]+)\}", lambda match: self._ref(match[1]), text)
            case {"Fn::Join": [delimiter, items]}:
                return delimiter.join(self.value(items))
            case {"Fn::If": [_, then, _]}:
                return self.value(then)
            case {"Fn::FindInMap": _}:
                return node
        return {key: self.value(value) for key, value in node.items()}

    def _ref(self, name: str) -> str:
        known = _PSEUDO | self._parameters
        if name in known:
            return known[name]
        resource = self._resources[name]
        if resource["Type"] == "AWS::StepFunctions::StateMachine":
            machine = self.value(resource["Properties"]["StateMachineName"])
            return ARN.format(service="states", rest=f"stateMachine:{machine}")
        return name

    def definition(self, machine: str) -> str:
        """The text of the definition that the state machine points to."""
        path = self._resources[machine]["Properties"]["DefinitionS3Location"]
        return (TEMPLATE.parent / str(path)).read_text()

    def granted(self, role: str) -> set[tuple[str, str]]:
        """Every action and resource that the role's policies allow, in every kind of policy."""
        documents = [
            policy["PolicyDocument"] for policy in self.of_type("IAM::Role")[role].get("Policies", ())
        ]
        for kind in ("IAM::Policy", "IAM::ManagedPolicy"):
            documents += [
                policy["PolicyDocument"]
                for policy in self.of_type(kind).values()
                if role in policy.get("Roles", ())
            ]
        return {pair for document in documents for pair in pairs(document)}


def pairs(document: dict[str, Any]) -> set[tuple[str, str]]:
    """Every action and resource that the document allows."""
    found = set()
    for statement in document["Statement"]:
        assert statement["Effect"] == "Allow"
        for action in _listed(statement["Action"]):
            found |= {(action, resource) for resource in _listed(statement["Resource"])}
    return found


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def tasks(definition: str) -> list[dict[str, Any]]:
    """Every task of the definition, those in branches and items included."""

    def walk(node: Any) -> list[dict[str, Any]]:
        if isinstance(node, list):
            return [task for item in node for task in walk(item)]
        if not isinstance(node, dict):
            return []
        own = [node] if node.get("Type") == "Task" else []
        return own + [task for value in node.values() for task in walk(value)]

    return walk(json.loads(definition))


def workflow_files() -> set[Path]:
    return set((TEMPLATE.parent.parent / "workflow").glob("*.asl.json"))
