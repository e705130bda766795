"""Every role may do what its work needs and nothing more.

What a state machine's role needs is derived from the tasks of its definition, what the ingress needs from its
integrations, and what a caller may invoke from the routes. Each is compared with what the template grants.
"""

import json
import re
from typing import Any

import pytest
from jsonata.jsonata import Jsonata

from tests.unit.infra.resolved import ARN, DESTINATIONS, Resolved, pairs, tasks
from workflow.registry import WORKFLOWS

RELAY = Resolved()
OF_THE_RELAY = [workflow for workflow in WORKFLOWS.values() if workflow.of_relay]
MACHINES = RELAY.of_type("StepFunctions::StateMachine")
ROLES = sorted({machine["RoleArn"] for machine in MACHINES.values()})

# What AWS wants on "*", and where it says so.
# https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html#cloudwatch-iam-policy
LOG_DELIVERY = {
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
}
# https://docs.aws.amazon.com/step-functions/latest/dg/xray-iam.html
TRACING = {
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}

# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-aws-services-reference.html
ACTIONS = {
    "StepFunctions-StartExecution": "states:StartExecution",
    "StepFunctions-StartSyncExecution": "states:StartSyncExecution",
    "StepFunctions-StopExecution": "states:StopExecution",
}
# It has no resource to name: the token says which task it is for.
SEND_TASK_SUCCESS = "states:SendTaskSuccess"
ITEM_ACTIONS = {"getItem": "dynamodb:GetItem", "updateItem": "dynamodb:UpdateItem"}

# What an activity's worker calls. For all but the first the token is the permission; AWS does not document
# whether a resource can be named.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsstepfunctions.html
WORKER = {
    ("states:GetActivityTask", "ActionsActivity"),
    ("states:SendTaskFailure", "*"),
    ("states:SendTaskHeartbeat", "*"),
    ("states:SendTaskSuccess", "*"),
}


def _standard_executions() -> set[str]:
    """The executions that can be described and stopped: not those of Express workflows."""
    return {
        ARN.format(service="states", rest=f"execution:{machine['StateMachineName']}:*")
        for machine in MACHINES.values()
        if machine["StateMachineType"] == "STANDARD"
    }


def _evaluated(expression: str, destination: str) -> str:
    """A path that depends on the execution's input."""
    if not expression.startswith("{%"):
        return expression
    states = {"context": {"Execution": {"Input": {"destination": destination}}}}
    return str(Jsonata.jsonata(expression[2:-2].strip()).evaluate(None, {"states": states}))


def _needed_to_invoke(arguments: dict[str, Any], substitutions: dict[str, str]) -> set[tuple[str, str]]:
    assert arguments["AuthType"] == "IAM_ROLE"
    host = re.sub(r"\$\{(\w+)\}", lambda match: substitutions[match[1]], arguments["ApiEndpoint"])
    api, rest = host.split(".", 1)
    assert rest == "execute-api.us-east-1.amazonaws.com"
    paths = {_evaluated(arguments["Path"], destination) for destination in DESTINATIONS}
    return {
        (
            "execute-api:Invoke",
            ARN.format(service="execute-api", rest=f"{api}/$default/{arguments['Method']}{path}"),
        )
        for path in paths
    }


def _needed(task: dict[str, Any], substitutions: dict[str, str]) -> set[tuple[str, str]]:
    """What a task of this kind needs; a kind that is not known here fails."""
    match task["Resource"].replace("${Partition}", substitutions["Partition"]).split(":"):
        case ["arn", "aws", "states", "", "", "apigateway", "invoke"]:
            return _needed_to_invoke(task["Arguments"], substitutions)
        case ["arn", "aws", "states", "", "", "aws-sdk", "sfn", "describeExecution"]:
            assert "Execution.Input" in task["Arguments"]["ExecutionArn"]
            return {("states:DescribeExecution", arn) for arn in _standard_executions()}
        case ["arn", "aws", "states", "", "", "aws-sdk", "sfn", "sendTaskSuccess"]:
            return {(SEND_TASK_SUCCESS, "*")}
        case ["arn", "aws", "states", "", "", "aws-sdk", "dynamodb", name] if name in ITEM_ACTIONS:
            table = task["Arguments"]["TableName"]
            return {(ITEM_ACTIONS[name], substitutions[table.removeprefix("${").removesuffix("}")])}
    raise AssertionError(f"no permissions are known for {task['Resource']}")


@pytest.mark.parametrize("role", ROLES)
def test_role_matches_its_tasks(role: str) -> None:
    needed: set[tuple[str, str]] = set()
    for name, machine in MACHINES.items():
        if machine["RoleArn"] != role:
            continue
        substitutions = machine.get("DefinitionSubstitutions", {})
        for task in tasks(RELAY.definition(name)):
            needed |= _needed(task, substitutions)
        if "LoggingConfiguration" in machine:
            needed |= {(action, "*") for action in LOG_DELIVERY}
        if machine["TracingConfiguration"]["Enabled"]:
            needed |= {(action, "*") for action in TRACING}

    assert RELAY.granted(role) == needed


@pytest.mark.parametrize("machine", MACHINES)
def test_placeholders_match_substitutions(machine: str) -> None:
    placeholders = set(re.findall(r"\$\{([^}]*)\}", RELAY.definition(machine)))

    assert placeholders == MACHINES[machine].get("DefinitionSubstitutions", {}).keys()


def test_every_definition_is_used() -> None:
    """CloudFormation reads other characters back as question marks."""
    # https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/814
    texts = {RELAY.definition(machine) for machine in MACHINES}

    assert texts == {each.definition.read_text() for each in OF_THE_RELAY}
    assert all(text.isascii() and json.loads(text)["QueryLanguage"] == "JSONata" for text in texts)


def test_ingress_role_matches_its_integrations() -> None:
    needed: set[tuple[str, str]] = set()
    for integration in RELAY.of_type("ApiGatewayV2::Integration").values():
        if integration["IntegrationType"] == "HTTP_PROXY":
            continue
        assert integration["CredentialsArn"] == "IngressIntegrationRole"
        action, parameters = ACTIONS[integration["IntegrationSubtype"]], integration["RequestParameters"]
        if "StateMachineArn" in parameters:
            needed.add((action, parameters["StateMachineArn"]))
        else:
            needed |= {(action, arn) for arn in _standard_executions()}

    assert RELAY.granted("IngressIntegrationRole") == needed


def _route_arns(api: str) -> set[str]:
    return {
        ARN.format(service="execute-api", rest=f"{api}/$default/{route['RouteKey'].replace(' ', '')}")
        for route in RELAY.of_type("ApiGatewayV2::Route").values()
        if route["ApiId"] == api
    }


def test_callers_may_invoke_existing_routes() -> None:
    policies = RELAY.of_type("IAM::ManagedPolicy")
    bot, operator = (pairs(policies[name]["PolicyDocument"]) for name in ("BotPolicy", "OperatorPolicy"))
    works = {(action, arn) for action, arn in bot if action.startswith("states:")}
    bot -= works

    assert works == WORKER
    assert {action for action, _ in bot | operator} == {"execute-api:Invoke"}
    assert {arn for _, arn in bot | operator} == _route_arns("IngressApi")
    assert {arn.partition("/")[2] for _, arn in bot} == {
        *(
            f"$default/POST/workflows/{name}"
            for name, each in WORKFLOWS.items()
            if each.startable and each.of_relay
        ),
        "$default/POST/executions/status",
        "$default/POST/executions/signal",
    }
    assert {arn.partition("/")[2] for _, arn in operator} == {
        "$default/POST/executions/status",
        "$default/POST/executions/stop",
    }


def test_posting_role_reaches_every_destination() -> None:
    arns = {arn for _, arn in RELAY.granted("PostingRole") if arn != "*"}

    assert arns == _route_arns("ProxyApi")
    assert len(arns) == len(DESTINATIONS)


@pytest.mark.parametrize("role", [*ROLES, "IngressIntegrationRole"])
def test_wildcards_are_unavoidable(role: str) -> None:
    for action, resource in RELAY.granted(role):
        assert "*" not in action
        if "*" in resource:
            assert resource in _standard_executions() or action in LOG_DELIVERY | TRACING | {
                SEND_TASK_SUCCESS
            }


@pytest.mark.parametrize("role", ROLES)
def test_role_trusts_this_accounts_step_functions(role: str) -> None:
    trust = RELAY.of_type("IAM::Role")[role]["AssumeRolePolicyDocument"]

    (statement,) = trust["Statement"]
    assert statement["Principal"] == {"Service": "states.amazonaws.com"}
    assert statement["Action"] == "sts:AssumeRole"
    assert statement["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "123456789012"},
        "ArnLike": {"aws:SourceArn": ARN.format(service="states", rest="stateMachine:*")},
    }


@pytest.mark.parametrize("policy", ["BotPolicy", "OperatorPolicy"])
def test_callers_addresses_are_a_condition(policy: str) -> None:
    for statement in RELAY.of_type("IAM::ManagedPolicy")[policy]["PolicyDocument"]["Statement"]:
        assert statement["Condition"] == {"IpAddress": {"aws:SourceIp": "::/0"}}


def test_fifty_destinations_fit_the_limits() -> None:
    """With the longest names, in a region with a long name."""
    relay = Resolved(Destinations=",".join(f"{number:x>16}" for number in range(50)))
    inline = [
        policy["PolicyDocument"]
        for policy in relay.of_type("IAM::Policy").values()
        if policy["Roles"] == ["PostingRole"]
    ]
    # An API's id has ten characters, and the longest common name of a region 14.
    text = json.dumps(inline, separators=(",", ":")).replace("ProxyApi", "a" * 10)

    assert len(inline) == 50
    # All inline policies of a role together, white space not counted.
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    assert len(text.replace("us-east-1", "ap-southeast-1")) <= 10_240
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html
    references = re.findall(r"\{\{resolve:", json.dumps(relay.of_type("ApiGatewayV2::Integration")))
    assert len(references) == 50 <= 60
