"""The stack's policies are minimal: without any one piece, something stops working.

The pieces come from the template: every statement in the policies and trust policies of the roles and in the
two policies for callers, and every action and resource of a statement with several. Each is removed from a
running stack in turn, every route is tried, and the piece is restored.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import botocore.exceptions
import pytest

from infra.deploy.engine import TEMPLATE
from infra.local.aws import EmbeddedAws
from tests.integration.infra.activities import start_task
from tests.integration.infra.relay import Answer, Relay, Webhook, new_relay, unique
from tests.integration.infra.waiting import start_waiting
from tooling.template_yaml import expand, load_template

Document = dict[str, Any]

# Replaces a removed statement, because a document needs one.
_NOTHING = {"Effect": "Deny", "Action": "sts:GetFederationToken"}

ROLES = ("IngressIntegrationRole", "PostingRole", "SignalStateMachineRole", "StatusStateMachineRole")
MANAGED = ("BotPolicy", "OperatorPolicy")
# Not evaluated by the embedded AWS; unit tests compare these with AWS's documentation.
UNEVALUATED = {"HeartbeatStateMachineRole", "LogDeliveryPolicy", "TracingPolicy"}


@dataclass(frozen=True)
class Piece:
    """A statement of a policy document, or one of several values in it."""

    document: str
    statement: int
    key: str = ""
    value: int = 0

    def __str__(self) -> str:
        return f"{self.document}/{self.statement}" + (f"/{self.key}/{self.value}" if self.key else "")

    def removed_from(self, document: Document) -> Document:
        without: Document = json.loads(json.dumps(document))
        if self.key:
            del without["Statement"][self.statement][self.key][self.value]
        else:
            whom = "Principal" if "Principal" in without["Statement"][self.statement] else "Resource"
            without["Statement"][self.statement] = {**_NOTHING, whom: "*"}
        return without


def _template_documents() -> Iterator[tuple[str, Document]]:
    """Yield every policy document of the template with its name in these tests."""
    for logical_id, resource in expand(load_template(TEMPLATE.read_text()))["Resources"].items():
        properties = resource["Properties"]
        if resource["Type"] == "AWS::IAM::Role":
            yield f"{logical_id}/trust", properties["AssumeRolePolicyDocument"]
            for policy in properties.get("Policies", ()):
                yield f"{logical_id}/{policy['PolicyName']}", policy["PolicyDocument"]
        elif resource["Type"] == "AWS::IAM::Policy":
            for role in properties["Roles"]:
                yield f"{role['Ref']}/{properties['PolicyName']['Fn::Sub']}", properties["PolicyDocument"]
        elif resource["Type"] == "AWS::IAM::ManagedPolicy":
            document = properties["PolicyDocument"]
            yield (
                logical_id,
                {**document, "Statement": [_switched_on(each) for each in document["Statement"]]},
            )


def _switched_on(statement: Document) -> Document:
    """Return the statement that a parameter switches on, as in the stack of these tests."""
    return statement["Fn::If"][1] if "Fn::If" in statement else statement


def _pieces() -> Iterator[Piece]:
    for name, document in _template_documents():
        if name.split("/")[0] in UNEVALUATED:
            continue
        for index, statement in enumerate(document["Statement"]):
            yield Piece(name, index)
            for key in ("Action", "Resource"):
                if isinstance(statement.get(key), list):
                    yield from (Piece(name, index, key, value) for value in range(len(statement[key])))


PIECES = list(_pieces())


class Documents:
    """Reads and replaces the policy documents of a deployed stack."""

    def __init__(self, relay: Relay, stack_name: str | None = None) -> None:
        self._iam = relay.aws.client("iam")
        described = relay.aws.client("cloudformation").list_stack_resources(
            StackName=stack_name or relay.stack_name
        )
        self._ids = {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for resource in described["StackResourceSummaries"]
        }

    def read(self, name: str) -> Document:
        logical_id, _, policy = name.partition("/")
        there = self._ids[logical_id]
        document: Document
        if not policy:
            version = self._iam.get_policy(PolicyArn=there)["Policy"]["DefaultVersionId"]
            document = self._iam.get_policy_version(PolicyArn=there, VersionId=version)["PolicyVersion"][
                "Document"
            ]
        elif policy == "trust":
            document = self._iam.get_role(RoleName=there)["Role"]["AssumeRolePolicyDocument"]
        else:
            document = self._iam.get_role_policy(RoleName=there, PolicyName=policy)["PolicyDocument"]
        return document

    def replace(self, name: str, document: Document) -> Callable[[], object]:
        """Replace the document, and return a function that restores it."""
        logical_id, _, policy = name.partition("/")
        there, before, text = self._ids[logical_id], json.dumps(self.read(name)), json.dumps(document)
        if not policy:
            return self._replace_managed(there, before, text)
        if policy == "trust":
            self._iam.update_assume_role_policy(RoleName=there, PolicyDocument=text)
            return lambda: self._iam.update_assume_role_policy(RoleName=there, PolicyDocument=before)
        self._iam.put_role_policy(RoleName=there, PolicyName=policy, PolicyDocument=text)
        return lambda: self._iam.put_role_policy(RoleName=there, PolicyName=policy, PolicyDocument=before)

    def _replace_managed(self, arn: str, before: str, document: str) -> Callable[[], object]:
        """Replace a managed policy, which has up to five versions; the embedded AWS uses the newest."""

        def put(text: str) -> str:
            made = self._iam.create_policy_version(PolicyArn=arn, PolicyDocument=text, SetAsDefault=True)
            return str(made["PolicyVersion"]["VersionId"])

        old = self._iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        new = put(document)
        self._iam.delete_policy_version(PolicyArn=arn, VersionId=old)

        def put_back() -> None:
            put(before)
            self._iam.delete_policy_version(PolicyArn=arn, VersionId=new)

        return put_back


@pytest.fixture(scope="module")
def own(aws: EmbeddedAws) -> Iterator[Relay]:
    """A relay whose policies the tests may change."""
    with Webhook() as webhook:
        yield new_relay(aws, webhook, parameters={"Actions": "true"})


@pytest.fixture(scope="module")
def documents(own: Relay) -> Documents:
    return Documents(own)


@pytest.fixture(scope="module")
def ended(own: Relay) -> dict[str, str]:
    """A finished execution of each workflow that posts, made with all policies in place."""
    arns = {}
    for workflow in ("notify", "digest"):
        name = unique("ended")
        own.start(name, workflow=workflow)
        arns[workflow] = own.finished(name, workflow)["executionArn"]
    return arns


def _refused(answer: Answer) -> bool:
    return answer.status != 200 and "not running" not in answer.json().get("message", "")


def _broken(relay: Relay, ended: dict[str, str]) -> set[str]:
    """Try every permitted use of the relay, and return those that fail."""

    def posts(workflow: str) -> bool:
        name = unique("try")
        if relay.start(name, workflow=workflow).status != 200:
            return False
        return bool(relay.finished(name, workflow)["status"] == "SUCCEEDED")

    def tells(workflow: str, who: str) -> bool:
        answer = relay.status(ended[workflow], who=getattr(relay, who))
        return answer.status == 200 and answer.json()["status"] == "SUCCEEDED"

    def signals() -> bool:
        waiting = start_waiting(relay, timeout_s=10)
        first, second = (waiting.signal().json() for _ in range(2))
        told = [json.loads(each.get("output", "{}")).get("outcome") for each in (first, second)]
        return told == ["signalled", "already_decided"] and waiting.finished()["status"] == "SUCCEEDED"

    worker = relay.aws.client("stepfunctions", relay.bot)

    def works(call: Callable[..., object], **asked: str) -> bool:
        """Tell whether the bot may: a token that does not exist is refused in another way."""
        try:
            call(**asked)
        except worker.exceptions.TaskDoesNotExist:
            return True
        except botocore.exceptions.ClientError:
            return False
        return True

    def takes_task() -> bool:
        activity = relay.outputs["ActionsActivityArn"]
        arn = start_task(relay.aws, activity)
        taken = works(worker.get_activity_task, activityArn=activity)
        relay.aws.client("stepfunctions").stop_execution(executionArn=arn)
        return taken

    uses: dict[str, Callable[[], bool]] = {
        "take task": takes_task,
        "end task": lambda: works(worker.send_task_success, taskToken="none", output="{}"),
        "fail task": lambda: works(worker.send_task_failure, taskToken="none"),
        "keep task": lambda: works(worker.send_task_heartbeat, taskToken="none"),
        "notify": lambda: posts("notify"),
        "digest": lambda: posts("digest"),
        "heartbeat": lambda: relay.start(unique("beat"), workflow="heartbeat").status == 200,
        "bot asks about notify": lambda: tells("notify", "bot"),
        "bot asks about digest": lambda: tells("digest", "bot"),
        "operator asks": lambda: tells("notify", "operator"),
        "signal": signals,
        # A caller without permission does not learn that the execution has already ended.
        "stop notify": lambda: not _refused(relay.stop(ended["notify"])),
        "stop digest": lambda: not _refused(relay.stop(ended["digest"])),
    }
    with ThreadPoolExecutor(len(uses)) as pool:
        worked = dict(zip(uses, pool.map(lambda use: use(), uses.values()), strict=True))
    return {use for use, works in worked.items() if not works}


def test_works_with_all_policies(own: Relay, ended: dict[str, str]) -> None:
    """Else every test below would pass for the wrong reason."""
    assert _broken(own, ended) == set()


def test_covers_every_policy() -> None:
    assert {piece.document.split("/")[0] for piece in PIECES} == {*ROLES, *MANAGED}
    assert {name.split("/")[0] for name, _ in _template_documents()} == {*ROLES, *MANAGED, *UNEVALUATED}


@pytest.mark.parametrize("piece", PIECES, ids=str)
def test_each_piece_is_needed(piece: Piece, own: Relay, documents: Documents, ended: dict[str, str]) -> None:
    put_back = documents.replace(piece.document, piece.removed_from(documents.read(piece.document)))
    try:
        assert _broken(own, ended)
    finally:
        put_back()


@pytest.mark.parametrize(
    ("name", "action", "resource", "broken"),
    [
        ("BotPolicy", 0, 1, {"digest"}),
        ("BotPolicy", 0, 3, {"bot asks about notify", "bot asks about digest"}),
        ("BotPolicy", 0, 4, {"signal"}),
        ("OperatorPolicy", 0, 1, {"stop notify", "stop digest"}),
        ("IngressIntegrationRole/run-workflows", 0, 2, {"heartbeat"}),
        ("IngressIntegrationRole/run-workflows", 1, 1, {"signal"}),
        ("IngressIntegrationRole/run-workflows", 2, 0, {"stop notify"}),
        ("StatusStateMachineRole/describe-executions", 0, 1, {"bot asks about digest"}),
    ],
)
def test_piece_affects_only_its_use(
    name: str,
    action: int,
    resource: int,
    broken: set[str],
    own: Relay,
    documents: Documents,
    ended: dict[str, str],
) -> None:
    """A sample, to show that a removal does not break everything."""
    piece = Piece(name, action, "Resource", resource)
    put_back = documents.replace(name, piece.removed_from(documents.read(name)))
    try:
        assert _broken(own, ended) == broken
    finally:
        put_back()


@pytest.mark.parametrize(("action", "broken"), [(0, {"fail task"}), (1, {"keep task"}), (2, {"end task"})])
def test_task_actions_are_granted_singly(
    action: int, broken: set[str], own: Relay, documents: Documents, ended: dict[str, str]
) -> None:
    piece = Piece("BotPolicy", 2, "Action", action)
    put_back = documents.replace("BotPolicy", piece.removed_from(documents.read("BotPolicy")))
    try:
        assert _broken(own, ended) == broken
    finally:
        put_back()


@pytest.mark.parametrize(
    ("role", "service"),
    [
        pytest.param("IngressIntegrationRole", "states.amazonaws.com", id="states for apigateway"),
        pytest.param("PostingRole", "apigateway.amazonaws.com", id="apigateway for posting"),
        pytest.param("StatusStateMachineRole", "apigateway.amazonaws.com", id="apigateway for status"),
        pytest.param("SignalStateMachineRole", "apigateway.amazonaws.com", id="apigateway for signal"),
    ],
)
def test_role_refuses_another_service(
    role: str, service: str, own: Relay, documents: Documents, ended: dict[str, str]
) -> None:
    trust = documents.read(f"{role}/trust")
    trust["Statement"][0]["Principal"] = {"Service": service}
    put_back = documents.replace(f"{role}/trust", trust)
    try:
        assert _broken(own, ended)
    finally:
        put_back()


@pytest.mark.parametrize("role", ["PostingRole", "SignalStateMachineRole", "StatusStateMachineRole"])
@pytest.mark.parametrize(
    ("operator", "key", "value"),
    [
        ("StringEquals", "aws:SourceAccount", "210987654321"),
        ("ArnLike", "aws:SourceArn", "arn:aws:states:us-east-1:210987654321:stateMachine:*"),
    ],
)
def test_workflow_role_refuses_other_account(
    role: str, operator: str, key: str, value: str, own: Relay, documents: Documents, ended: dict[str, str]
) -> None:
    """The condition is evaluated: naming another account excludes our own state machine."""
    trust = documents.read(f"{role}/trust")
    assert key in trust["Statement"][0]["Condition"][operator]
    trust["Statement"][0]["Condition"][operator][key] = value
    put_back = documents.replace(f"{role}/trust", trust)
    try:
        assert _broken(own, ended)
    finally:
        put_back()
