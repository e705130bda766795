"""The connections' template: what its roles may do follows from the definitions, and no secret is in it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from infra.deploy.credentials import KINDS
from infra.deploy.stack_kinds import CONNECTION, STACK_KINDS
from tests.unit.infra.resolved import tasks
from tests.unit.infra.test_permissions import LOG_DELIVERY
from tooling.template_yaml import load_template
from workflow.registry import WORKFLOWS

PATH = STACK_KINDS[CONNECTION].template
TEMPLATE: dict[str, Any] = load_template(PATH.read_text(encoding="utf-8"))
RESOURCES = TEMPLATE["Resources"]

# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-identity-based.html
CHANGES_SECRET = {
    "secretsmanager:GetSecretValue",
    "secretsmanager:PutSecretValue",
    "secretsmanager:UpdateSecret",
}
# https://docs.aws.amazon.com/step-functions/latest/dg/call-https-apis.html
CALLS = {
    "states:InvokeHTTPEndpoint",
    "events:RetrieveConnectionCredentials",
    "secretsmanager:DescribeSecret",
    "secretsmanager:GetSecretValue",
}
NEEDED = {
    "http:invoke": CALLS,
    "aws-sdk:eventbridge:describeConnection": {"events:DescribeConnection"},
    "aws-sdk:eventbridge:updateConnection": {"events:UpdateConnection", *CHANGES_SECRET},
    "aws-sdk:sfn:startSyncExecution": {"states:StartSyncExecution"},
    "aws-sdk:sfn:startExecution": {"states:StartExecution"},
    "aws-sdk:sfn:describeExecution": {"states:DescribeExecution"},
}


def _needed(name: str) -> set[str]:
    definition = WORKFLOWS[name].definition.read_text(encoding="utf-8")
    kinds = {task["Resource"].removeprefix("arn:${Partition}:states:::") for task in tasks(definition)}
    return {action for kind in kinds for action in NEEDED[kind]}


def _actions(statements: list[dict[str, Any]]) -> set[str]:
    listed = (statement["Action"] for statement in statements)
    return {action for each in listed for action in ([each] if isinstance(each, str) else each)}


def _granted(role: str) -> set[str]:
    policies = RESOURCES[role]["Properties"]["Policies"]
    return _actions([each for policy in policies for each in policy["PolicyDocument"]["Statement"]])


def test_login_role_matches_its_tasks() -> None:
    assert _granted("LoginRole") == _needed("login")


def test_refresh_role_matches_its_tasks() -> None:
    assert _granted("RefreshRole") == _needed("refresh") | LOG_DELIVERY


def test_report_may_do_what_it_does() -> None:
    """Calls are granted by the template of workflows, the rest by the workflow's own policy."""
    path = WORKFLOWS["report"].policy
    assert path is not None

    statements = json.loads(path.read_text(encoding="utf-8"))

    assert _actions(statements) | CALLS == _needed("report")
    assert all(statement["Resource"] != "*" for statement in statements)


def test_login_keeps_no_record() -> None:
    """An Express execution without a log leaves nothing that could have the token."""
    machine = RESOURCES["LoginStateMachine"]["Properties"]

    assert machine["StateMachineType"] == WORKFLOWS["login"].kind == "EXPRESS"
    assert "LoggingConfiguration" not in machine
    refresh = RESOURCES["RefreshStateMachine"]["Properties"]
    assert refresh["LoggingConfiguration"]["IncludeExecutionData"] is False


@pytest.mark.parametrize("machine", ["LoginStateMachine", "RefreshStateMachine"])
def test_placeholders_match_substitutions(machine: str) -> None:
    properties = RESOURCES[machine]["Properties"]
    definition = (PATH.parent / Path(properties["DefinitionS3Location"])).read_text(encoding="utf-8")

    assert set(re.findall(r"\$\{(\w+)\}", definition)) == properties["DefinitionSubstitutions"].keys()


def test_template_refers_to_each_credential() -> None:
    """The keys of the secret that the command line writes are those that the template reads."""
    read = set(re.findall(r"SecretString:(\w+):", PATH.read_text(encoding="utf-8")))

    assert read == {name for names in KINDS.values() for name in names}
    assert set(TEMPLATE["Parameters"]["Auth"]["AllowedValues"]) == KINDS.keys()


@pytest.mark.parametrize(
    ("url", "is_taken"),
    [
        ("https://api.example.org/v1/events", True),
        ("https://api.example.org", True),
        ("http://127.0.0.1:8080/events", True),
        ("http://api.example.org/events", False),
        ("https://api.example.org/", False),
        ("https://api.example.org/events?key=1", False),
        ("https://user:password@api.example.org/events", False),
    ],
)
def test_url_shows_no_secret(url: str, is_taken: bool) -> None:
    """What would carry one, such as a query, is refused."""
    assert bool(re.fullmatch(TEMPLATE["Parameters"]["Url"]["AllowedPattern"], url)) is is_taken
