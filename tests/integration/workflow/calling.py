"""A connection's stack with a third party behind it, and a state machine that reports through it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.voice.samples import build_sample
from infra.deploy.engine import DeployOptions, deploy_template
from infra.local.aws import EmbeddedAws
from tests.integration.infra.relay import POLL_S, unique, wait_for_execution
from tests.support.third_parties import ThreadedThirdParty
from workflow.registry import WORKFLOWS

ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "infra" / "connection.yaml"
TRUST = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}

JOINED: Any = build_sample("joined")


def document(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


@dataclass
class Reports:
    """Executions of report; ``statements`` are those of its role, and take effect with the next execution."""

    aws: EmbeddedAws
    party: ThreadedThirdParty
    stack_name: str
    outputs: Mapping[str, str]
    secret_name: str
    statements: list[dict[str, Any]] = field(default_factory=list)
    machine_arn: str = ""

    def deploy(self, *, call_timeout_s: int | None = None) -> None:
        """Create the state machine and its role; *call_timeout_s* replaces the definition's own time-out."""
        name = f"{self.stack_name}-report"
        iam, states = self.aws.client("iam"), self.aws.client("stepfunctions")
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document([TRUST]))["Role"]["Arn"]
        definition = WORKFLOWS["report"].definition.read_text(encoding="utf-8")
        substitutions = {"Partition": "aws"} | {
            key: self.outputs[key] for key in ("ConnectionArn", "CallUrl", "Renewal")
        }
        for key, value in substitutions.items():
            definition = definition.replace("${" + key + "}", value)
        if call_timeout_s is not None:
            definition = definition.replace('"TimeoutSeconds": 65', f'"TimeoutSeconds": {call_timeout_s}')
        self.machine_arn = states.create_state_machine(name=name, roleArn=role, definition=definition)[
            "stateMachineArn"
        ]

    def start(self, *events: dict[str, Any], parameters: dict[str, Any] | None = None) -> str:
        """Start an execution, and return its ARN."""
        self.aws.client("iam").put_role_policy(
            RoleName=f"{self.stack_name}-report", PolicyName="call", PolicyDocument=document(self.statements)
        )
        given = {"id": unique("execution"), "destination": "default", "parameters": parameters or {}}
        started = self.aws.client("stepfunctions").start_execution(
            stateMachineArn=self.machine_arn,
            name=given["id"],
            input=json.dumps(given | {"events": list(events) or [JOINED]}),
        )
        return str(started["executionArn"])

    def run(self, *events: dict[str, Any], parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run an execution to its end, and return it."""
        return wait_for_execution(self.aws, self.start(*events, parameters=parameters))

    def entered(self, arn: str) -> list[str]:
        """Return the states that the execution went through."""
        history = self.aws.client("stepfunctions").get_execution_history(executionArn=arn, maxResults=1000)
        return [
            event["stateEnteredEventDetails"]["name"]
            for event in history["events"]
            if "stateEnteredEventDetails" in event
        ]


def needed(outputs: Mapping[str, str], stack_name: str) -> list[dict[str, Any]]:
    """Return what report's role may do: what workflow.yaml grants for calls, and report.policy.json."""
    policy = json.loads((ROOT / "workflow" / "report.policy.json").read_text(encoding="utf-8"))
    call: list[dict[str, Any]] = [
        {
            "Effect": "Allow",
            "Action": "states:InvokeHTTPEndpoint",
            "Resource": f"arn:aws:states:us-east-1:123456789012:stateMachine:{stack_name}-report",
            "Condition": {
                "StringEquals": {"states:HTTPMethod": "POST"},
                "StringLike": {"states:HTTPEndpoint": [outputs["CallUrl"], f"{outputs['CallUrl']}/*"]},
            },
        },
        {
            "Effect": "Allow",
            "Action": "events:RetrieveConnectionCredentials",
            "Resource": outputs["ConnectionArn"],
        },
        *(
            {"Effect": "Allow", "Action": action, "Resource": outputs["ConnectionSecretArn"]}
            for action in ("secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue")
        ),
    ]
    return call + [
        statement | {"Resource": _resolved(statement["Resource"], outputs, stack_name)}
        for statement in policy
    ]


def _resolved(resource: dict[str, Any], outputs: Mapping[str, str], stack_name: str) -> str:
    if "Fn::ImportValue" in resource:
        name = resource["Fn::ImportValue"]["Fn::Sub"].removeprefix("${RelayStack}-${Connection}-")
        return outputs[str(name)]
    text: str = resource["Fn::Sub"]
    for key, value in {
        "AWS::Partition": "aws",
        "AWS::Region": "us-east-1",
        "AWS::AccountId": "123456789012",
        "RelayStack": stack_name.rpartition("-")[0],
        "Connection": stack_name.rpartition("-")[2],
    }.items():
        text = text.replace("${" + key + "}", value)
    return text


def credentials(party: ThreadedThirdParty, auth: str) -> dict[str, str]:
    """Return what the secret holds for this kind of authorisation."""
    accounts = party.accounts
    user = {"username": accounts.user, "password": accounts.password}
    return {
        "none": {},
        "api-key": {"key": accounts.api_key},
        "basic": user,
        "oauth": {"client_id": accounts.client_id, "client_secret": accounts.client_secret},
        "login": user,
    }[auth]


def connection_parameters(party: ThreadedThirdParty, auth: str, **more: str) -> dict[str, str]:
    path = "/hooks/events" if auth == "none" else "/api/events"
    kinds = {
        "api-key": {"KeyHeader": "X-Api-Key"},
        "oauth": {"TokenUrl": f"{party.url}/oauth/token"},
        "login": {"TokenUrl": f"{party.url}/login"},
    }
    return {"Url": party.url + path, "Auth": auth, **kinds.get(auth, {}), **more}


def new_reports(
    aws: EmbeddedAws,
    party: ThreadedThirdParty,
    auth: str,
    *,
    held: dict[str, str] | None = None,
    call_timeout_s: int | None = None,
    **parameters: str,
) -> Reports:
    """Deploy a connection of the kind *auth* and a state machine that reports through it."""
    stack_name = unique("relay")
    secret = ""
    if auth != "none":
        secret = f"{stack_name}/credentials"
        aws.client("secretsmanager").create_secret(
            Name=secret, SecretString=json.dumps(held or credentials(party, auth))
        )
    outputs = deploy_template(
        aws.client,
        TEMPLATE,
        stack_name=stack_name,
        parameters=connection_parameters(party, auth, Secret=secret, **parameters),
        options=DeployOptions(poll_s=POLL_S),
    )
    reports = Reports(aws, party, stack_name, outputs, secret, needed(outputs, stack_name))
    reports.deploy(call_timeout_s=call_timeout_s)
    return reports
