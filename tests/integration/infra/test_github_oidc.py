"""The pipeline's role: who may assume it, and that its permissions are enough to deploy."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

import workflow
from infra.deploy.aws_errors import DeployError
from infra.deploy.definition import read_definition
from infra.deploy.destroy import destroy
from infra.deploy.engine import DeployOptions, deploy, deploy_template
from infra.deploy.stack_kinds import STACK_KINDS
from infra.deploy.workflow_stack import OwnWorkflow, deploy_workflow
from infra.local.aws import EmbeddedAws
from infra.local.aws.credentials import Credentials
from tests.integration.infra.relay import POLL_S, Relay, Webhook, unique, wait_for_execution

REPOSITORY = "owner@12/relay@34"
CLAIMS = {
    "iss": "https://token.actions.githubusercontent.com",
    "aud": "sts.amazonaws.com",
    "sub": f"repo:{REPOSITORY}:environment:production",
}


@dataclass(frozen=True)
class Pipeline:
    """The pipeline's stack and the relay that it deploys."""

    aws: EmbeddedAws
    relay_stack: str
    outputs: dict[str, str]

    def enter(self, **claims: str) -> Credentials:
        """Assume the role as GitHub's action does, with a token of these claims, unverified."""
        sts = self.aws.client("sts")
        # The embedded AWS requires a signed request, where AWS requires none.
        sts.meta.events.register_first("choose-signer.sts.AssumeRoleWithWebIdentity", lambda **_: "v4")
        made = sts.assume_role_with_web_identity(
            RoleArn=self.outputs["DeployRoleArn"],
            RoleSessionName="voice-relay-1",
            WebIdentityToken=".".join(map(_segment, ({"alg": "RS256"}, CLAIMS | claims, {}))),
        )["Credentials"]
        return Credentials(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])

    def client(self, who: Credentials) -> Callable[[str], Any]:
        return lambda service: self.aws.client(service, who)

    def deploy(self, who: Credentials, stack_name: str, **parameters: str) -> dict[str, str]:
        return deploy(
            self.client(who),
            webhook_url=None,
            stack_name=stack_name,
            secret_name=f"{self.relay_stack}/webhooks",
            parameters={"PermissionsBoundary": self.outputs["PermissionsBoundaryArn"], **parameters},
            options=DeployOptions(poll_s=POLL_S, role_arn=self.outputs["CloudFormationRoleArn"]),
        )


def _segment(claims: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


@pytest.fixture(scope="module")
def pipeline(aws: EmbeddedAws) -> Iterator[Pipeline]:
    relay_stack = unique("piped")
    name = f"{relay_stack}-github"
    outputs = deploy_template(
        aws.client,
        STACK_KINDS["github-oidc"].template,
        stack_name=name,
        parameters={"RelayStack": relay_stack, "Repository": REPOSITORY, "ImageRepository": relay_stack},
        options=DeployOptions(poll_s=POLL_S),
    )
    yield Pipeline(aws, relay_stack, outputs)
    destroy(aws.client, stack_name=name, has_secret=False, poll_s=POLL_S)
    assert not aws.client("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"]
    assert not [
        role for role in aws.client("iam").list_roles()["Roles"] if role["RoleName"].startswith(relay_stack)
    ]
    assert not aws.client("ecr").describe_repositories()["repositories"]


def test_trusts_repository_environment(pipeline: Pipeline) -> None:
    who = pipeline.enter()

    caller = pipeline.aws.client("sts", who).get_caller_identity()["Arn"]
    assert caller.endswith("/voice-relay-1")


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": f"repo:{REPOSITORY}:environment:staging"},
        {"sub": f"repo:{REPOSITORY}:ref:refs/heads/main"},
        {"sub": f"repo:{REPOSITORY}:pull_request"},
        {"sub": "repo:owner/relay:environment:production"},
        {"sub": "repo:owner@99/relay@34:environment:production"},
        {"aud": "https://github.com/owner"},
        {"iss": "https://token.actions.example"},
    ],
    ids=lambda claims: " ".join(claims.values()),
)
def test_refuses_other_claims(pipeline: Pipeline, claims: dict[str, str]) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match="AccessDenied"):
        pipeline.enter(**claims)


def test_deploys_relay_within_boundary(pipeline: Pipeline, webhook: Webhook) -> None:
    """Create, change and deploy unchanged; the relay works within the boundary. A person makes the secret."""
    aws, stack = pipeline.aws, pipeline.relay_stack
    aws.client("secretsmanager").create_secret(
        Name=f"{stack}/webhooks", SecretString=json.dumps({"default": webhook.url})
    )
    role = pipeline.outputs["DeployRoleArn"].rpartition("/")[2]
    _forget_condition(aws, role)
    who = pipeline.enter()
    try:
        outputs = pipeline.deploy(who, stack, CreateBotUser="true")
        assert outputs["ApiEndpoint"]
        assert pipeline.deploy(who, stack, LogRetentionDays="90") == outputs
        assert pipeline.deploy(who, stack) == outputs

        for other in (unique("other"), f"{stack}-github", f"{stack}-monitoring"):
            with pytest.raises(DeployError, match="may not cloudformation:"):
                pipeline.deploy(who, other)

        _put_boundary_on_roles(aws, stack, pipeline.outputs["PermissionsBoundaryArn"])
        key = aws.client("iam").create_access_key(UserName=outputs["BotUserName"])["AccessKey"]
        bot = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
        relay, name = Relay(aws, webhook, stack, outputs, bot), unique("bounded")
        assert relay.start(name).status == 200
        assert relay.finished(name)["status"] == "SUCCEEDED"
        assert len(webhook.posted) == 1
        told = json.loads(relay.status(relay.execution_arn(name)).json()["output"])
        assert told["status"] == "SUCCEEDED"
        _deploy_workflow(pipeline, who, relay)
    finally:
        destroy(aws.client, stack_name=f"{stack}-workflow-own-greet", has_secret=False, poll_s=POLL_S)
        destroy(aws.client, stack_name=stack, poll_s=POLL_S)


def _deploy_workflow(pipeline: Pipeline, who: Credentials, relay: Relay) -> None:
    """A workflow beside the relay, under a name that the pipeline may use; it posts within the boundary."""
    how = DeployOptions(poll_s=POLL_S, role_arn=pipeline.outputs["CloudFormationRoleArn"])
    starter = Path(workflow.__file__).with_name("starter") / "definition.asl.json"
    boundary = pipeline.outputs["PermissionsBoundaryArn"]

    def deploy_as(name: str) -> None:
        own = OwnWorkflow(read_definition(starter, name=name))
        deploy_workflow(pipeline.client(who), own, relay_stack=relay.stack_name, options=how)

    deploy_as("own-greet")
    _put_boundary_on_roles(pipeline.aws, f"{relay.stack_name}-workflow-own-greet", boundary)
    name = unique("greet")
    assert relay.start(name, workflow="own-greet").status == 200
    arn = relay.execution_arn(name).replace("-notify:", "-own-greet:")
    assert wait_for_execution(pipeline.aws, arn)["status"] == "SUCCEEDED"
    with pytest.raises(DeployError, match="may not cloudformation:"):
        deploy_as("greet")


def test_creates_nothing_without_the_role(pipeline: Pipeline) -> None:
    """Without a role, CloudFormation would use the pipeline's permissions, which create nothing."""
    client = pipeline.client(pipeline.enter())

    for service, call, given in (
        ("iam", "create_role", {"RoleName": f"{pipeline.relay_stack}-x", "AssumeRolePolicyDocument": "{}"}),
        ("apigatewayv2", "create_api", {"Name": "x", "ProtocolType": "HTTP"}),
        (
            "secretsmanager",
            "put_secret_value",
            {"SecretId": f"{pipeline.relay_stack}/webhooks", "SecretString": "x"},
        ),
        ("cloudformation", "create_stack", {"StackName": pipeline.relay_stack, "TemplateBody": "{}"}),
    ):
        with pytest.raises(botocore.exceptions.ClientError, match=r"not authorized|AccessDenied"):
            getattr(client(service), call)(**given)


def _forget_condition(aws: EmbeddedAws, role: str) -> None:
    """Remove the condition on the change set's role, which the embedded AWS does not support."""
    iam, name = aws.client("iam"), "hand-over-change-sets"
    document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    (conditional,) = [each for each in document["Statement"] if "cloudformation:RoleArn" in json.dumps(each)]
    del conditional["Condition"]
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))


def _put_boundary_on_roles(aws: EmbeddedAws, stack: str, boundary: str) -> None:
    """Set the boundary as the template does, because the embedded AWS ignores it for roles."""
    iam = aws.client("iam")
    resources = aws.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
    for resource in resources:
        if resource["ResourceType"] == "AWS::IAM::Role":
            iam.put_role_permissions_boundary(
                RoleName=resource["PhysicalResourceId"], PermissionsBoundary=boundary
            )
