"""No policy of the template says more than is needed: without any one piece of it, the relay stops working.

The pieces are read from the template itself: every statement of every policy and trust policy, and every
action, resource and principal of a statement that has several.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.deploy import TEMPLATE
from infra.local.aws import EmbeddedAws
from infra.template import build_template
from tests.integration.aws.relay import Webhook, new_relay, unique
from tests.unit.infra.template_yaml import load_template

# What log delivery asks of a state machine's role, and why nothing but "*" will do.
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

# What takes a piece's place: the document must stay a document.
_NOTHING = {"Effect": "Deny", "Action": "sts:GetFederationToken"}

Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Piece:
    """A statement, or one of several values in it."""

    document: Path_
    statement: int
    key: str = ""
    value: int = 0

    def __str__(self) -> str:
        where = "/".join(str(step) for step in self.document if step not in ("Resources", "Properties"))
        return f"{where}/{self.statement}" + (f"/{self.key}/{self.value}" if self.key else "")

    def removed_from(self, template: dict[str, Any]) -> dict[str, Any]:
        """A copy of the template without this piece."""
        without = copy.deepcopy(template)
        document = _at(without, self.document)
        if self.key:
            del document["Statement"][self.statement][self.key][self.value]
        elif "AssumeRolePolicyDocument" in self.document:
            document["Statement"][self.statement] = {**_NOTHING, "Principal": "*"}
        else:
            document["Statement"][self.statement] = {**_NOTHING, "Resource": "*"}
        return without


def _at(node: Any, path: Path_) -> Any:
    for step in path:
        node = node[step]
    return node


def _documents(node: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Where the template has policy documents, whatever resource they belong to."""
    if isinstance(node, dict):
        if isinstance(node.get("Statement"), list):
            yield path
        for key, value in node.items():
            yield from _documents(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _documents(value, (*path, index))


def _pieces(template: dict[str, Any]) -> Iterator[Piece]:
    for document in _documents(template):
        for index, statement in enumerate(_at(template, document)["Statement"]):
            yield Piece(document, index)
            for key in ("Action", "Resource"):
                if isinstance(statement.get(key), list):
                    yield from (Piece(document, index, key, value) for value in range(len(statement[key])))


SHIPPED = load_template(build_template(TEMPLATE))
PIECES = list(_pieces(SHIPPED))


def _log_delivery_is_allowed(template: dict[str, Any]) -> bool:
    """Whether each state machine that logs has a role that may deliver logs; nothing local evaluates that."""
    resources = template["Resources"]
    for machine in resources.values():
        if machine["Type"] != "AWS::StepFunctions::StateMachine":
            continue
        if "LoggingConfiguration" not in machine["Properties"]:
            continue
        role = resources[machine["Properties"]["RoleArn"]["Fn::GetAtt"][0]]
        allowed = {
            action
            for policy in role["Properties"]["Policies"]
            for statement in policy["PolicyDocument"]["Statement"]
            if statement["Effect"] == "Allow" and statement["Resource"] == "*"
            for action in statement["Action"]
        }
        if allowed != LOG_DELIVERY:
            return False
    return True


def _works(aws: EmbeddedAws, webhook: Webhook, template: dict[str, Any], directory: Path) -> bool:
    """Whether an event travels from the bot's request to the webhook."""
    path = directory / "mutated.json"
    path.write_text(json.dumps(template))
    relay = new_relay(aws, webhook, path)
    name = unique("works")
    if relay.start(name).status != 200:
        return False
    return relay.finished(name)["status"] == "SUCCEEDED" and len(webhook.posted) == 1


def test_the_template_as_it_is_works(aws: EmbeddedAws, webhook: Webhook, tmp_path: Path) -> None:
    """Without this, every test below would pass for the wrong reason."""
    assert _log_delivery_is_allowed(SHIPPED)
    assert _works(aws, webhook, SHIPPED, tmp_path)


def test_every_kind_of_policy_is_looked_at() -> None:
    found = {piece.document[1:4:2] for piece in PIECES}

    assert found >= {
        ("BotPolicy", "PolicyDocument"),
        ("IngressIntegrationRole", "AssumeRolePolicyDocument"),
        ("IngressIntegrationRole", "Policies"),
        ("NotifyStateMachineRole", "AssumeRolePolicyDocument"),
        ("NotifyStateMachineRole", "Policies"),
    }


@pytest.mark.parametrize("piece", PIECES, ids=str)
def test_nothing_works_without(piece: Piece, aws: EmbeddedAws, webhook: Webhook, tmp_path: Path) -> None:
    without = piece.removed_from(SHIPPED)

    assert not (_log_delivery_is_allowed(without) and _works(aws, webhook, without, tmp_path))


@pytest.mark.parametrize(
    ("role", "service"),
    [
        pytest.param("IngressIntegrationRole", "states.amazonaws.com", id="states for apigateway"),
        pytest.param("NotifyStateMachineRole", "apigateway.amazonaws.com", id="apigateway for states"),
    ],
)
def test_a_role_is_of_no_use_to_another_service(
    role: str, service: str, aws: EmbeddedAws, webhook: Webhook, tmp_path: Path
) -> None:
    other = copy.deepcopy(SHIPPED)
    trust = other["Resources"][role]["Properties"]["AssumeRolePolicyDocument"]
    trust["Statement"][0]["Principal"] = {"Service": service}

    assert not _works(aws, webhook, other, tmp_path)


@pytest.mark.parametrize(
    ("operator", "key", "value"),
    [
        ("StringEquals", "aws:SourceAccount", "210987654321"),
        ("ArnLike", "aws:SourceArn", "arn:aws:states:us-east-1:210987654321:stateMachine:*"),
    ],
)
def test_the_workflows_role_serves_no_other_account(
    operator: str, key: str, value: str, aws: EmbeddedAws, webhook: Webhook, tmp_path: Path
) -> None:
    """The condition is evaluated: naming another account in it shuts our own state machine out."""
    other = copy.deepcopy(SHIPPED)
    trust = other["Resources"]["NotifyStateMachineRole"]["Properties"]["AssumeRolePolicyDocument"]
    assert key in trust["Statement"][0]["Condition"][operator]
    trust["Statement"][0]["Condition"][operator][key] = value

    assert not _works(aws, webhook, other, tmp_path)


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ("BotPolicy", ("PolicyDocument",)),
        ("IngressIntegrationRole", ("Policies", 0, "PolicyDocument")),
        ("NotifyStateMachineRole", ("Policies", 0, "PolicyDocument")),
    ],
)
def test_permissions_name_one_resource_exactly(resource: str, path: Path_) -> None:
    """No wildcard but log delivery's, which AWS wants."""
    for statement in _at(SHIPPED["Resources"][resource]["Properties"], path)["Statement"]:
        assert "*" not in json.dumps(statement)
