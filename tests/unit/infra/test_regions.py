"""The templates can be deployed in every region and partition, as far as cfn-lint's schemas know them."""

import importlib.resources
import json
import re
from pathlib import Path
from typing import Any

import pytest

from infra.deploy.stack import Stack
from infra.deploy.stack_events import ignore
from infra.deploy.stack_kinds import STACK_KINDS, StackKind
from infra.deploy.template import build_template
from tests.unit.infra.cloudformation import client_error
from tooling.template_yaml import load_template

MONITORING = load_template(STACK_KINDS["monitoring"].template.read_text())
BUDGET = "AWS::Budgets::Budget"
CONNECTION = "AWS::Events::Connection"
ROOT = Path(__file__).parents[3]


def regions() -> dict[str, set[str]]:
    """Map each region to its resource types."""
    providers = importlib.resources.files("cfnlint") / "data" / "schemas" / "providers"
    return {
        path.name.removesuffix(".json"): set(json.loads(path.read_text()))
        for path in providers.iterdir()
        # sam.json is of a transform, not of a region.
        if path.name.endswith(".json") and path.name != "sam.json"
    }


def holds(condition: Any, values: dict[str, str]) -> bool:
    """Evaluate a condition of the monitoring template with these references."""
    match condition:
        case {"Fn::And": parts}:
            return all(holds(part, values) for part in parts)
        case {"Fn::Or": parts}:
            # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference-conditions.html
            assert 2 <= len(parts) <= 10
            return any(holds(part, values) for part in parts)
        case {"Fn::Not": [part]}:
            return not holds(part, values)
        case {"Fn::Equals": [{"Ref": name}, value]}:
            return values[str(name)] == str(value)
        case {"Condition": name}:
            return holds(MONITORING["Conditions"][name], values)
    raise AssertionError(condition)


def test_budget_exists_where_its_type_does() -> None:
    """`make lock` may bring schemas of more regions; the conditions of the template then need them too."""
    made = MONITORING["Conditions"][MONITORING["Resources"]["Budget"]["Condition"]]
    with_budget = {name for name in regions() if holds(made, {"AWS::Region": name, "MonthlyBudget": "10"})}

    assert with_budget == {name for name, types in regions().items() if BUDGET in types}
    assert not holds(made, {"AWS::Region": "us-east-1", "MonthlyBudget": "0"})
    assert not holds(made, {"AWS::Region": "xx-new-1", "MonthlyBudget": "10"})


def test_other_types_exist_everywhere() -> None:
    """But for budgets and connections: in all regions with Step Functions and HTTP APIs but isolated ones."""
    used = {
        kind
        for stack in STACK_KINDS.values()
        for kind in re.findall(r"Type: (AWS::\w+::\w+)$", stack.template.read_text(), re.MULTILINE)
    } - {BUDGET, CONNECTION}
    missing = {name: used - types for name, types in regions().items() if used - types and "iso" not in name}
    assert missing == {}


def test_documentation_names_regions_without_connections() -> None:
    """CloudFormation makes no connection there, so no workflow of these regions can call another API."""
    lacking = {name for name, types in regions().items() if CONNECTION not in types and "iso" not in name}
    (sentence,) = re.findall(
        r"CloudFormation makes no connections in (.*?)\.", (ROOT / "infra/README.md").read_text(), re.DOTALL
    )
    assert set(re.findall(r"[a-z]{2}(?:-[a-z]+)+-\d", sentence)) == lacking


class CloudFormation:
    """Validates as AWS does in a region without budgets."""

    def validate_template(self, TemplateBody: str) -> Any:  # noqa: N803
        if BUDGET in TemplateBody:
            message = f"Template format error: Unrecognized resource types: [{BUDGET}]"
            raise client_error("ValidateTemplate", "ValidationError", message)
        declared = load_template(TemplateBody)["Parameters"]
        return {
            "Parameters": [
                {"ParameterKey": name} | ({"DefaultValue": str(each["Default"])} if "Default" in each else {})
                for name, each in declared.items()
            ]
        }


@pytest.mark.parametrize("kind", STACK_KINDS.values(), ids=lambda kind: kind.name)
def test_deploy_reads_parameters_everywhere(kind: StackKind) -> None:
    """ValidateTemplate refuses an unknown type, although the change set would not make it."""
    stack = Stack(CloudFormation(), "stack", on_event=ignore, poll_s=0)

    defaults = stack.defaults({"TemplateBody": build_template(kind.template)})

    declared = load_template(kind.template.read_text())["Parameters"]
    assert defaults.keys() == declared.keys()
    assert {name for name, value in defaults.items() if value is not None} == {
        name for name, each in declared.items() if "Default" in each
    }


def test_names_no_partition() -> None:
    """GovCloud and China have partitions of their own; a task's ARN of another one fails the execution."""
    definitions = sorted((ROOT / "workflow").glob("*.asl.json"))
    assert len(definitions) > 3
    for path in [*definitions, *(kind.template for kind in STACK_KINDS.values())]:
        assert not re.findall(r"arn:aws[a-z-]*:", path.read_text()), path.name
    machines = [
        resource["Properties"]
        for resource in load_template(STACK_KINDS["relay"].template.read_text())["Resources"].values()
        if isinstance(resource, dict) and resource["Type"] == "AWS::StepFunctions::StateMachine"
    ]
    for machine in machines:
        text = (ROOT / "infra" / machine["DefinitionS3Location"]).read_text()
        if '"arn:' in text:
            assert machine["DefinitionSubstitutions"]["Partition"] == {"Ref": "AWS::Partition"}


def test_check_lints_for_all_regions() -> None:
    """``workflow.yaml`` in groups of regions, the other templates for all at once."""
    text = (ROOT / "Makefile").read_text()
    others = "$(filter-out infra/workflow.yaml,$(wildcard infra/*.yaml))"
    assert f"cfn-lint --regions ALL_REGIONS --template {others}" in text
    assert re.search(r"print\(\*REGIONS\).*\\\n.*cfn-lint --template infra/workflow.yaml --regions\n", text)
