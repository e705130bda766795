"""The stack of one workflow: its role may do what its definition does, and others their part for it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.deploy.definition import Definition, parse_definition
from infra.deploy.template import load_template as load_whole
from infra.deploy.workflow_stack import KIND, OwnWorkflow, load_workflow
from tests.unit.infra.resolved import ARN, Resolved, pairs, tasks
from tests.unit.infra.test_permissions import LOG_DELIVERY, TRACING
from tooling.template_yaml import load_template
from workflow.registry import WORKFLOWS

TEMPLATE = load_template(KIND.template.read_text())
BUNDLED = [name for name, workflow in WORKFLOWS.items() if workflow.own_stack]
PAGE = (KIND.template.parents[1] / "workflow" / "OWN.md").read_text()
MACHINE = ARN.format(service="states", rest="stateMachine:voice-relay-{}")
EXECUTIONS = ARN.format(service="states", rest="execution:voice-relay-{}:*")

# Where a task of the SDK's has another name for the service than IAM.
SERVICES = {"eventbridge": "events", "sfn": "states"}


def _exported(name: str) -> str:
    """What an import becomes here."""
    return f"[voice-relay-{name}]"


class ResolvedWorkflow(Resolved):
    """The stack of *workflow*, with conditions as its parameters make them."""

    def __init__(self, workflow: OwnWorkflow, **parameters: str) -> None:
        self.workflow = workflow
        super().__init__(
            KIND.template,
            **{"RelayStack": "voice-relay", "AllowedCidrs": "", **workflow.parameters(), **parameters},
        )

    def value(self, node: Any) -> Any:
        match node:
            case {"Ref": "AWS::NoValue"}:
                return None
            case {"Fn::If": [condition, then, otherwise]}:
                return self.value(then if self._holds(TEMPLATE["Conditions"][condition]) else otherwise)
            case {"Fn::Select": [index, names]}:
                return str(self.value(names)).split(",")[index]
            case {"Fn::ImportValue": name}:
                return f"[{self.value(name)}]"
            case {"Fn::Sub": [text, values]}:
                for name, value in values.items():
                    text = text.replace(f"${{{name}}}", self.value(value))
                return self.value({"Fn::Sub": text})
            case list():
                return [value for value in map(self.value, node) if value is not None]
            case dict() if not any(key.startswith("Fn::") or key == "Ref" for key in node):
                found = {key: self.value(value) for key, value in node.items()}
                return {key: value for key, value in found.items() if value is not None}
        return super().value(node)

    def _holds(self, condition: Any) -> bool:
        match condition:
            case {"Fn::Not": [inner]}:
                return not self._holds(inner)
            case {"Fn::Equals": [one, other]}:
                return bool(self.value(one) == self.value(other))
        raise AssertionError(condition)

    def machine_may(self) -> set[tuple[str, str]]:
        further = self.value({"Statement": list(self.workflow.statements)})
        return self.granted("MachineRole") | pairs(further)


def _needed(task: dict[str, Any], name: str) -> set[tuple[str, str]]:
    """What a task of this kind needs; a kind that is not known here fails."""
    if task["Resource"] == "${ActionsActivity}":
        return set()
    connection = {_exported("crm-ConnectionArn")}
    match task["Resource"].replace("${Partition}", "aws").split(":"):
        case ["arn", "aws", "states", "", "", "apigateway", "invoke"]:
            proxy = ARN.format(service="execute-api", rest=_exported("ProxyApiId"))
            return {("execute-api:Invoke", f"{proxy}/$default/{task['Arguments']['Method']}/destinations/*")}
        case ["arn", "aws", "states", "", "", "aws-sdk", "dynamodb", "putItem.waitForTaskToken"]:
            assert task["Arguments"]["TableName"] == "${WaitsTable}"
            return {("dynamodb:PutItem", _exported("WaitsTableArn"))}
        case ["arn", "aws", "states", "", "", "http", "invoke"]:
            assert task["Arguments"]["ApiEndpoint"].startswith(("${CallUrl}", "{%"))
            return {
                ("states:InvokeHTTPEndpoint", MACHINE.format(name)),
                *(("events:RetrieveConnectionCredentials", arn) for arn in connection),
                ("secretsmanager:DescribeSecret", _exported("crm-ConnectionSecretArn")),
                ("secretsmanager:GetSecretValue", _exported("crm-ConnectionSecretArn")),
            }
        case ["arn", "aws", "states", "", "", "aws-sdk", service, action]:
            return {(f"{SERVICES[service]}:{action[0].upper()}{action[1:]}", "")}
    raise AssertionError(f"no permissions are known for {task['Resource']}")


def _bundled(name: str) -> OwnWorkflow:
    workflow = load_workflow(name)
    connection = "crm" if "calls" in workflow.definition.needs else None
    return OwnWorkflow(workflow.definition, connection, workflow.statements)


def _shown() -> dict[str, Definition]:
    """The definitions on the page."""
    texts = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return {
        str(number): parse_definition(text, where="OWN.md", name=f"own{number}", values={})
        for number, text in enumerate(texts)
    }


ALL = {name: _bundled(name) for name in BUNDLED} | {
    f"page {key}": OwnWorkflow(each) for key, each in _shown().items()
}


@pytest.mark.parametrize("workflow", ALL.values(), ids=ALL)
@pytest.mark.parametrize("tracing", ["false", "true"])
def test_role_matches_its_tasks(workflow: OwnWorkflow, tracing: str) -> None:
    """Further permissions by action alone: what they name is in the execution's input."""
    stack = ResolvedWorkflow(workflow, Tracing=tracing)
    needed = {(action, "*") for action in LOG_DELIVERY | (TRACING if tracing == "true" else set())}
    for task in tasks(workflow.definition.text):
        needed |= _needed(task, workflow.name)
    further = {action for action, resource in needed if not resource}

    assert {pair for pair in stack.machine_may() if pair[0] not in further} == {
        pair for pair in needed if pair[1]
    }
    assert {action for action, _ in stack.machine_may()} >= further
    if workflow.statements:
        assert {action for each in workflow.statements for action in [each["Action"]]} == further


@pytest.mark.parametrize("workflow", ALL.values(), ids=ALL)
def test_placeholders_are_filled_in(workflow: OwnWorkflow) -> None:
    (machine,) = ResolvedWorkflow(workflow).of_type("StepFunctions::StateMachine").values()

    assert workflow.definition.placeholders <= machine["DefinitionSubstitutions"].keys()


def test_stack_without_grants_imports_little() -> None:
    """So that it can be deployed beside a relay without actions, and without a connection."""
    text = '{"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": {"Type": "Succeed"}}}'
    bare = OwnWorkflow(parse_definition(text, where="bare", name="bare", values={}))
    stack = ResolvedWorkflow(bare)

    found = json.dumps([stack.of_type(kind.removeprefix("AWS::")) for kind in _types()])

    assert set(re.findall(r"\[voice-relay-(\w+)\]", found)) == {
        "IngressApiId",
        "IngressIntegrationRoleName",
        "StatusStateMachineRoleName",
    }
    assert stack.machine_may() == {(action, "*") for action in LOG_DELIVERY}


def _types() -> set[str]:
    return {resource["Type"] for resource in TEMPLATE["Resources"].values()}


def test_others_get_their_own_part() -> None:
    stack = ResolvedWorkflow(_bundled("admit"), BotUsers="bot")

    assert stack.granted("StartRole") == {("states:StartExecution", MACHINE.format("admit"))}
    start = stack.of_type("IAM::ManagedPolicy")["StartPolicy"]
    assert pairs(start["PolicyDocument"]) == {
        (
            "execute-api:Invoke",
            ARN.format(
                service="execute-api", rest=f"{_exported('IngressApiId')}/$default/POST/workflows/admit"
            ),
        )
    }
    assert (start["Users"], start.get("Roles")) == ("bot", None)
    policies = {
        policy["Roles"][0]: pairs(policy["PolicyDocument"])
        for policy in stack.of_type("IAM::Policy").values()
    }
    assert policies == {
        _exported("StatusStateMachineRoleName"): {("states:DescribeExecution", EXECUTIONS.format("admit"))},
        _exported("IngressIntegrationRoleName"): {("states:StopExecution", EXECUTIONS.format("admit"))},
    }


def test_calls_reach_one_place() -> None:
    """A longer host name does not match, and only the definition's methods do."""
    stack = ResolvedWorkflow(_bundled("report"))
    (condition,) = (
        statement["Condition"]
        for policy in stack.of_type("IAM::Role")["MachineRole"]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Action"] == "states:InvokeHTTPEndpoint"
    )
    url = _exported("crm-CallUrl")

    assert condition == {
        "StringEquals": {"states:HTTPMethod": "POST"},
        "StringLike": {"states:HTTPEndpoint": [url, f"{url}/*"]},
    }


def test_addresses_are_a_condition() -> None:
    stack = ResolvedWorkflow(_bundled("admit"), AllowedCidrs="203.0.113.0/24")
    (statement,) = stack.of_type("IAM::ManagedPolicy")["StartPolicy"]["PolicyDocument"]["Statement"]

    assert statement["Condition"] == {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}


def test_every_role_takes_the_boundary() -> None:
    boundary = "arn:aws:iam::123456789012:policy/boundary"
    roles = ResolvedWorkflow(_bundled("admit"), PermissionsBoundary=boundary).of_type("IAM::Role")

    assert {role["PermissionsBoundary"] for role in roles.values()} == {boundary}
    assert len(roles) == 2


def test_log_has_no_payloads() -> None:
    (machine,) = ResolvedWorkflow(_bundled("admit")).of_type("StepFunctions::StateMachine").values()

    assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False
    assert machine["StateMachineType"] == "STANDARD"


@pytest.mark.parametrize("workflow", ALL.values(), ids=ALL)
def test_fits_a_request(workflow: OwnWorkflow) -> None:
    assert workflow.template().fits_inline


def test_passes_cfn_lint_with_policy(tmp_path: Path) -> None:
    whole = tmp_path / "whole.yaml"
    statement = {
        "Effect": "Allow",
        "Action": "s3:PutObject",
        "Resource": {"Fn::Sub": "arn:${AWS::Partition}:s3:::b/*"},
    }
    workflow = OwnWorkflow(_shown()["0"], statements=[statement])
    # cfn-lint checks the definition's ARNs before it puts the substitutions in.
    whole.write_text(workflow.template().body.replace("${Partition}", "aws"))

    lint = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), KIND.template, whole],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (lint.stdout, lint.stderr, lint.returncode) == ("", "", 0)
    resources = load_template(workflow.template().body)["Resources"]
    assert resources["FurtherPolicy"]["Properties"]["Roles"] == [{"Ref": "MachineRole"}]
    # Step Functions may want them when it makes the state machine.
    assert resources["StateMachine"]["DependsOn"] == "FurtherPolicy"


@pytest.mark.parametrize("section", ["Parameters", "Outputs"])
def test_describes_each(section: str) -> None:
    for name, declared in TEMPLATE[section].items():
        assert declared["Description"].endswith((".", ")")), name


def test_groups_every_parameter() -> None:
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]

    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(TEMPLATE["Parameters"])


def test_outputs_are_exported() -> None:
    for name, output in TEMPLATE["Outputs"].items():
        assert output["Export"]["Name"] == {"Fn::Sub": f"${{AWS::StackName}}-{name}"}


def test_example_definition_is_taken_as_it_is() -> None:
    """``aws cloudformation package`` works on the template too."""
    assert load_whole(KIND.template).fits_inline
