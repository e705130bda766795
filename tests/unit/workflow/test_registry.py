"""A workflow is its definition, its part of the template, and its line in the registry: none is missing."""

import json
from typing import Any

import pytest

from tests.unit.infra.resolved import ARN, Resolved, workflow_files
from tooling.workflows import sources
from workflow.registry import WORKFLOWS, Kind, Workflow

RELAY = Resolved()
MACHINES = RELAY.of_type("StepFunctions::StateMachine")
ROUTES = {route["RouteKey"] for route in RELAY.of_type("ApiGatewayV2::Route").values()}

each_workflow = pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=WORKFLOWS)
OF_THE_RELAY = [workflow for workflow in WORKFLOWS.values() if workflow.of_relay]
each_of_the_relay = pytest.mark.parametrize(
    "workflow", OF_THE_RELAY, ids=[workflow.name for workflow in OF_THE_RELAY]
)


def _definition(workflow: Workflow) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(workflow.definition.read_text(encoding="utf-8"))
    return found


def test_registry_lists_every_definition() -> None:
    files = {path.name for path in workflow_files()}

    assert {workflow.definition.name for workflow in WORKFLOWS.values()} == files


def test_registry_lists_every_source() -> None:
    assert set(WORKFLOWS) == {source.stem for source in sources()}


def test_registry_lists_every_state_machine() -> None:
    assert {workflow.logical_id for workflow in OF_THE_RELAY} == set(MACHINES)


@each_of_the_relay
def test_machine_is_as_registered(workflow: Workflow) -> None:
    machine = MACHINES[workflow.logical_id]

    assert machine["StateMachineName"] == f"relay-{workflow.name}"
    assert machine["StateMachineType"] == workflow.kind
    assert machine["DefinitionS3Location"] == f"../workflow/{workflow.name}.asl.json"


@each_of_the_relay
def test_machine_is_an_output(workflow: Workflow) -> None:
    assert RELAY.output(workflow.output) == ARN.format(
        service="states", rest=f"stateMachine:relay-{workflow.name}"
    )


@each_workflow
def test_posting_is_as_registered(workflow: Workflow) -> None:
    """What posts calls the proxy at its input's destination, and fails in that task if it cannot."""
    definition = _definition(workflow)
    calls_proxy = "apigateway:invoke" in json.dumps(definition)
    kinds = {state["Type"] for state in definition["States"].values()}

    assert calls_proxy is workflow.posts
    assert not (workflow.posts and "Fail" in kinds)


@each_workflow
def test_rule_names_startable_standard(workflow: Workflow) -> None:
    """What a rule may name can be started, and only Standard executions happen once for each name."""
    assert not workflow.routable or (workflow.startable and workflow.kind is Kind.STANDARD)


def test_routes_start_registered_workflows() -> None:
    started = {key.removeprefix("POST /workflows/") for key in ROUTES if "/workflows/" in key}

    assert started == {workflow.name for workflow in OF_THE_RELAY if workflow.startable}


@each_workflow
def test_followed_executions_can_be_described(workflow: Workflow) -> None:
    """An Express execution leaves no record."""
    assert not workflow.followed or workflow.kind is Kind.STANDARD
    assert workflow.followed or not workflow.posts
