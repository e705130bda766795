"""``voice-relay deploy workflow``, ``outputs workflow`` and ``destroy workflow``, as they are typed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.routing.rules_file import read_rules
from infra.deploy.account import Account
from infra.deploy.aws_errors import DeployError
from infra.deploy.destroy import destroy
from infra.deploy.engine import DeployOptions, deploy_template
from infra.local.aws import EmbeddedAws
from tests.integration.infra.operating import Operator, Ran, relay_of
from tests.integration.infra.relay import POLL_S, Relay, Webhook, unique, wait_for_execution

GREET: dict[str, Any] = {
    "QueryLanguage": "JSONata",
    "StartAt": "Greet",
    "States": {
        "Greet": {
            "Type": "Task",
            "Resource": "arn:${Partition}:states:::apigateway:invoke",
            "Arguments": {
                "ApiEndpoint": "${WebhookProxyHost}",
                "Method": "POST",
                "Path": "/destinations/default",
                "AuthType": "IAM_ROLE",
                "RequestBody": {"content": "{% 'Hello, ' & $states.input.events[0].data.user.id %}"},
            },
            "End": True,
        }
    },
}


class Workshop:
    """A deployed relay, and the command line for workflows beside it."""

    def __init__(self, operator: Operator, relay: Relay | None) -> None:
        self.operator = operator
        self._relay = relay

    @property
    def relay(self) -> Relay:
        assert self._relay is not None
        return self._relay

    def run(self, command: str, *arguments: str) -> Ran:
        return self.operator.run_bare(command, "workflow", *arguments, "--relay-stack", self.operator.stack)

    def deploy(self, *arguments: str) -> Ran:
        return self.run("deploy", *arguments, "--yes")


@pytest.fixture
def workshop(aws: EmbeddedAws, operator: Operator, webhook: Webhook) -> Iterator[Workshop]:
    Path("webhook").write_text(webhook.url)
    Path("greet.asl.json").write_text(json.dumps(GREET))
    assert operator.deploy("--webhook-file", "webhook", "--create-access-key").code == 0
    workshop = Workshop(operator, relay_of(aws, webhook, operator))
    yield workshop
    workshop.run("destroy", "greet", "--yes")


def test_own_workflow_runs(aws: EmbeddedAws, workshop: Workshop, webhook: Webhook) -> None:
    """The bot's own key starts it and asks after it; deleting it takes its name out of .env."""
    ran = workshop.deploy("greet.asl.json", "--posts")

    assert (ran.code, ran.err) == (0, "")
    assert workshop.operator.values()["VOICE_RELAY_WORKFLOWS"] == "greet"
    Path("rules.toml").write_text(ran.out[ran.out.index("[[rule]]") :])
    (rule,) = read_rules(Path("rules.toml")).rules
    assert (rule.workflow, rule.batch_max_events) == ("greet", 1)
    outputs = json.loads(workshop.run("outputs", "greet", "--json").out)
    name, relay = unique("greet"), workshop.relay
    assert relay.start(name, workflow="greet").status == 200
    arn = f"{outputs['StateMachineArn'].replace(':stateMachine:', ':execution:')}:{name}"
    assert wait_for_execution(aws, arn)["status"] == "SUCCEEDED"
    assert json.loads(webhook.posted[0].body) == {"content": "Hello, 80351110224678912"}
    assert relay.status(arn).json()["status"] == "SUCCEEDED"

    destroyed = workshop.run("destroy", "greet", "--yes")

    assert (destroyed.code, destroyed.err) == (0, "")
    assert workshop.operator.values()["VOICE_RELAY_WORKFLOWS"] == ""
    assert relay.start(unique("greet"), workflow="greet").status == 404


def _everything(aws: EmbeddedAws) -> dict[str, Any]:
    """All that a workflow's stack could add to or change in the account, but the stack itself."""
    iam, apis, logs = (aws.client(name) for name in ("iam", "apigatewayv2", "logs"))
    states, formation = aws.client("stepfunctions"), aws.client("cloudformation")
    roles = [role["RoleName"] for role in iam.list_roles()["Roles"]]
    users = [user["UserName"] for user in iam.list_users()["Users"]]
    return {
        "roles": {
            name: [
                iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"],
                iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"],
                *(
                    iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
                    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
                ),
            ]
            for name in roles
        },
        "users": {name: iam.list_attached_user_policies(UserName=name)["AttachedPolicies"] for name in users},
        "policies": [
            (policy["Arn"], policy["DefaultVersionId"], policy.get("AttachmentCount"))
            for policy in iam.list_policies(Scope="Local")["Policies"]
        ],
        "apis": {
            api["ApiId"]: [
                apis.get_routes(ApiId=api["ApiId"])["Items"],
                apis.get_integrations(ApiId=api["ApiId"])["Items"],
            ]
            for api in apis.get_apis()["Items"]
        },
        "machines": [each["stateMachineArn"] for each in states.list_state_machines()["stateMachines"]],
        "logs": [
            group["logGroupName"]
            for group in logs.get_paginator("describe_log_groups").paginate().build_full_result()["logGroups"]
        ],
        "exports": formation.get_paginator("list_exports").paginate().build_full_result()["Exports"],
        "secrets": [each["ARN"] for each in aws.client("secretsmanager").list_secrets()["SecretList"]],
        "tables": aws.client("dynamodb").list_tables()["TableNames"],
    }


def test_deletion_leaves_nothing(aws: EmbeddedAws, workshop: Workshop) -> None:
    """Nothing of its own, and nothing changed in the relay's stack."""
    before = _everything(aws)

    assert workshop.deploy("greet.asl.json", "--posts").code == 0
    during = _everything(aws)
    assert [key for key in before if before[key] == during[key]] == ["secrets", "tables"]
    assert workshop.run("destroy", "greet", "--yes").code == 0

    assert _everything(aws) == before


def test_relay_cannot_go_first(workshop: Workshop) -> None:
    workshop.deploy("greet.asl.json", "--posts")
    stack = workshop.operator.stack

    ran = workshop.operator.run("destroy", "--yes")

    assert ran.code == 1
    remedy = f"voice-relay destroy workflow greet --relay-stack {stack}"
    assert f"{stack}-workflow-greet uses its exports: delete that first with {remedy}" in ran.err
    assert workshop.run("destroy", "greet", "--yes").code == 0


def test_second_deployment_changes_nothing(workshop: Workshop) -> None:
    workshop.deploy("greet.asl.json", "--posts")

    ran = workshop.deploy("greet.asl.json", "--posts")

    assert (ran.code, "There is nothing to change." in ran.out) == (0, True)
    assert workshop.operator.values()["VOICE_RELAY_WORKFLOWS"] == "greet"


def test_takes_over_settings_of_relay(aws: EmbeddedAws, operator: Operator, webhook: Webhook) -> None:
    Path("webhook").write_text(webhook.url)
    Path("greet.asl.json").write_text(json.dumps(GREET))
    given = ("LogRetentionDays=7", "AllowedCidrs=127.0.0.0/8")
    assert operator.deploy("--webhook-file", "webhook", *_parameters(*given)).code == 0
    workshop = Workshop(operator, None)

    assert workshop.deploy("greet.asl.json", "--posts", "--name", "hello").code == 0

    (stack,) = aws.client("cloudformation").describe_stacks(StackName=f"{operator.stack}-workflow-hello")[
        "Stacks"
    ]
    found = {f"{each['ParameterKey']}={each['ParameterValue']}" for each in stack["Parameters"]}
    assert found >= {*given, "Workflow=hello", "Posts=true", "Waits=false", "BotUsers="}
    assert operator.values()["VOICE_RELAY_WORKFLOWS"] == "hello"
    assert workshop.run("destroy", "hello", "--yes").code == 0


def _parameters(*given: str) -> list[str]:
    return [word for each in given for word in ("--parameter", each)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("workflow",), "name the workflow, or the file with its definition"),
        (("monitoring", "greet"), "monitoring is one stack and takes no further name: leave out greet"),
        (("workflow", "greet.asl.json"), "greet posts to Discord (it uses ${WebhookProxyHost}): add --posts"),
        (
            ("workflow", "greet.asl.json", "--posts", "--waits"),
            "greet does not use ${WaitsTable}, so it needs no --waits: leave it out",
        ),
        (
            ("workflow", "--posts", "other.asl.json"),
            "uses arn:aws:states:::lambda:invoke, which needs permissions",
        ),
        (
            ("workflow", "greet"),
            "there is no file greet, and no workflow of that name comes with voice-relay",
        ),
        (("workflow", "notify"), "notify has no stack of its own"),
        (("workflow", "report"), "report calls another API: name the connection with --calls CONNECTION"),
        (("workflow", "escort", "--posts"), "escort does not use ${WebhookProxyHost}"),
        (("workflow", "greet.asl.json", "--posts", "--name", "a_b"), "give another with --stack-name"),
        (("workflow", "greet.asl.json", "--posts", "--name", "notify"), "has a workflow notify already"),
        (
            ("workflow", "greet.asl.json", "--posts", "--policy", "wide.json"),
            "statement 1 allows every action",
        ),
        (
            ("workflow", "greet.asl.json", "--posts", "--destination", "x"),
            "--destination applies to the relay only",
        ),
        (("monitoring", "--posts"), "--posts applies to a workflow only, not to monitoring"),
        (("workflow", "greet.asl.json", "--posts", "--set", "X=y"), "--set X=… has no effect"),
    ],
)
def test_wrong_usage_is_explained(operator: Operator, arguments: tuple[str, ...], sentence: str) -> None:
    """Before AWS is asked anything."""
    Path("greet.asl.json").write_text(json.dumps(GREET))
    other = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Next": "Greet"}
    states = {"Other": other, **GREET["States"]}
    Path("other.asl.json").write_text(json.dumps({**GREET, "StartAt": "Other", "States": states}))
    Path("wide.json").write_text('[{"Effect": "Allow", "Action": "*", "Resource": "*"}]')

    ran = operator.run_bare("deploy", *arguments, "--yes")

    assert ran.code == 2
    assert sentence in ran.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("greet.asl.json", "--posts", "--relay-stack", "none"), "there is no relay none: deploy it first"),
        (("escort",), "escort has the bot act in Discord, which the relay"),
        (("report", "--calls", "crm"), "there is no connection in the stack"),
    ],
)
def test_lacking_relay_is_explained(workshop: Workshop, arguments: tuple[str, ...], sentence: str) -> None:
    ran = workshop.operator.run_bare(
        "deploy", "workflow", "--relay-stack", workshop.operator.stack, *arguments, "--yes"
    )

    assert ran.code == 1
    assert sentence in ran.err


def test_old_relay_is_explained(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.deploy.workflow_stack._OUTPUTS", ("IngressApiId", "Tomorrows"))

    ran = workshop.deploy("greet.asl.json", "--posts")

    assert ran.code == 1
    assert "lacks Tomorrows, because an older voice-relay deployed it: deploy it again" in ran.err


def test_step_functions_checks_definition(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its errors end the deployment; the placeholders have values of the right form."""
    asked = []

    def answer(account: Any, service: str) -> Any:
        client = make(account, service)
        if service == "stepfunctions":
            client.validate_state_machine_definition = validate
        return client

    def validate(definition: str) -> Any:
        asked.append(definition)
        diagnostic = {"severity": "ERROR", "code": "SCHEMA", "message": "no good", "location": "/States"}
        return {"result": "FAIL", "diagnostics": [diagnostic]}

    make = Account.client
    monkeypatch.setattr(Account, "client", answer)

    ran = workshop.deploy("greet.asl.json", "--posts")

    assert (ran.code, "greet: no good (SCHEMA at /States)" in ran.err) == (2, True)
    assert '"arn:aws:states:::apigateway:invoke"' in asked[0]
    assert "${" not in asked[0]


ROLE = """
Resources:
  TaskRole:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement:
          - {Effect: Allow, Principal: {Service: ecs-tasks.amazonaws.com}, Action: "sts:AssumeRole"}
Outputs:
  Role: {Value: !Ref TaskRole}
"""


def test_bots_roles_may_start_it(aws: EmbeddedAws, workshop: Workshop, tmp_path: Path) -> None:
    """A role that has the relay's policy later gets this one too, and its stack cannot be deleted first."""
    workshop.deploy("greet.asl.json", "--posts")
    (tmp_path / "role.yaml").write_text(ROLE)
    stack, iam = unique("bot"), aws.client("iam")
    how = DeployOptions(poll_s=POLL_S)
    role = deploy_template(aws.client, tmp_path / "role.yaml", stack_name=stack, options=how)["Role"]
    bot = workshop.operator.outputs()["BotPolicyArn"]
    iam.attach_role_policy(RoleName=role, PolicyArn=bot)

    assert workshop.deploy("greet.asl.json", "--posts").code == 0

    attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    (start,) = (policy["PolicyArn"] for policy in attached if policy["PolicyArn"] != bot)
    command = f"aws iam detach-role-policy --role-name {role} --policy-arn {start}"
    with pytest.raises(DeployError, match=f"detach their policies first: {command}"):
        destroy(aws.client, stack_name=stack, has_secret=False, poll_s=POLL_S)
    for policy in (bot, start):
        iam.detach_role_policy(RoleName=role, PolicyArn=policy)
    destroy(aws.client, stack_name=stack, has_secret=False, poll_s=POLL_S)
