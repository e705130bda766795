"""The three levels of the pipeline's permissions: enough for what it deploys, and no escalation."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from infra.deploy.engine import TEMPLATE as RELAY_TEMPLATE
from infra.deploy.stack_kinds import STACK_KINDS
from infra.deploy.workflow_stack import load_workflow
from tests.unit.infra.github_oidc import (
    DEPLOYED,
    POLICIES,
    RESOURCES,
    TEMPLATE,
    allowed,
    found,
    listed,
    statements,
)
from workflow.registry import WORKFLOWS

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
MAX_POLICY_CHARACTERS = 6144
PIPELINE = RELAY_TEMPLATE.parents[1] / ".github/workflows/deploy.yml"
OWN_STACKS = [name for name, workflow in WORKFLOWS.items() if workflow.own_stack]


def test_trusts_exact_repository_and_environment() -> None:
    (trust,) = RESOURCES["DeployRole"]["AssumeRolePolicyDocument"]["Statement"]
    prefix = "token.actions.githubusercontent.com"
    assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert trust["Condition"] == {
        "StringEquals": {
            f"{prefix}:aud": "sts.amazonaws.com",
            f"{prefix}:sub": {"Fn::Sub": "repo:${Repository}:environment:${Environment}"},
        }
    }


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("owner/repo", True),
        ("owner@123/repo.x@456", True),
        ("owner/*", False),
        ("*", False),
        ("owner@123/repo", False),
        ("owner/repo:environment:production", False),
    ],
)
def test_repository_pattern(name: str, taken: bool) -> None:
    """GitHub's subject has names only, or names with ids."""
    pattern = TEMPLATE["Parameters"]["Repository"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, name)) is taken


def test_new_identities_need_boundary() -> None:
    powers = ("Attach", "Create", "Put")
    for statement in statements(*POLICIES):
        given = {
            action
            for action in listed(statement["Action"])
            if re.fullmatch(rf"iam:({'|'.join(powers)})(Role|User).*", action)
        }
        if given and statement["Effect"] == "Allow":
            assert statement["Condition"] == {
                "StringEquals": {"iam:PermissionsBoundary": {"Ref": "Boundary"}}
            }
    assert not {action for action in allowed(*POLICIES) if "DeleteRolePermissionsBoundary" in action}


def test_denies_changes_to_own_identities() -> None:
    (denied,) = [each for each in statements(*POLICIES) if each["Effect"] == "Deny"]
    assert denied["Action"] == "iam:*"
    assert {each["Fn::Sub"].rpartition("${AWS::AccountId}:")[2] for each in denied["Resource"]} == {
        "role/${AWS::StackName}/*",
        "policy/${AWS::StackName}/*",
    }
    for name, resource in TEMPLATE["Resources"].items():
        if resource["Type"] in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy"):
            assert RESOURCES[name]["Path"] == {"Fn::Sub": "/${AWS::StackName}/"}, name


@pytest.mark.parametrize(
    ("name", "taken"),
    [("voice-relay", True), ("a" * 20, True), ("a" * 21, False), ("1relay", False), ("relay/*", False)],
)
def test_stack_name_fits_role_names(name: str, taken: bool) -> None:
    """CloudFormation leaves a stack's name at least 24 of a role's 64 characters."""
    pattern = TEMPLATE["Parameters"]["RelayStack"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, name)) is taken


def test_only_security_groups_are_tagged_later() -> None:
    """CloudFormation may tag a security group after its rules; nothing else can be tagged later."""
    stack = {"Fn::Sub": "${RelayStack}" + STACK_KINDS["service"].suffix}
    tag = "voice-relay-stack"
    at_once, later = [each for each in statements(*POLICIES) if each["Action"] == "ec2:CreateTags"]
    assert set(at_once["Condition"]) == {"StringEquals"}
    assert set(at_once["Condition"]["StringEquals"]) == {"ec2:CreateAction"}
    assert later["Resource"]["Fn::Sub"].endswith(":security-group/*")
    assert later["Condition"] == {
        "StringEquals": {f"aws:RequestTag/{tag}": stack},
        "Null": {f"aws:ResourceTag/{tag}": "true"},
    }
    rules = [each for each in statements(*POLICIES) if "ec2:AuthorizeSecurityGroupEgress" in each["Action"]]
    assert ["Condition" in each for each in rules] == [False]


def test_passes_roles_to_named_services_only() -> None:
    passed = [each for each in statements(*POLICIES) if each["Action"] == "iam:PassRole"]
    trusted = [
        {
            service
            for statement in found(template["Resources"])
            for service in listed(statement.get("Principal", {}).get("Service", []))
        }
        for template in DEPLOYED.values()
    ]
    named = [each["Condition"]["StringEquals"]["iam:PassedToService"] for each in passed]
    assert sorted(map(sorted, named)) == sorted(map(sorted, trusted))


def test_boundary_matches_granted_actions() -> None:
    """Beyond them it allows only AmazonSSMManagedInstanceCore, which ShellAccess adds.

    A bundled workflow's further permissions are granted too.
    """
    granted = {
        action
        for template in DEPLOYED.values()
        for statement in found(template["Resources"])
        if "Resource" in statement
        for action in listed(statement["Action"])
    } | {
        action
        for name in OWN_STACKS
        for statement in load_workflow(name).statements
        for action in listed(statement["Action"])
    }
    extra = {action for action in allowed("Boundary") if action.startswith(("ssm:", "ssmmessages:"))}
    assert allowed("Boundary") - extra == granted


def test_boundary_excludes_iam_and_other_secrets() -> None:
    assert not {action for action in allowed("Boundary") if action.startswith(("iam:", "sts:"))}
    secrets = [
        each for each in statements("Boundary") if "secretsmanager:GetSecretValue" in listed(each["Action"])
    ]
    assert [each["Resource"]["Fn::Sub"].rpartition(":secret:")[2] for each in secrets] == [
        "events!connection/${RelayStack}-*",
        "${RelayStack}/*",
    ]


def test_change_sets_need_the_role() -> None:
    stacks, transform = [
        each
        for each in statements("DeployRole")
        if "cloudformation:CreateChangeSet" in listed(each["Action"]) and each["Effect"] == "Allow"
    ]
    assert stacks["Condition"] == {
        "StringEquals": {"cloudformation:RoleArn": {"Fn::GetAtt": ["CloudFormationRole", "Arn"]}}
    }
    # AWS checks this separately, without a role.
    assert "Condition" not in transform
    declared = DEPLOYED["relay"]["Transform"].removeprefix("AWS::")
    assert transform["Resource"]["Fn::Sub"].endswith(f":aws:transform/{declared}")
    assert not allowed("DeployRole") & {
        "cloudformation:CreateStack",
        "cloudformation:SetStackPolicy",
        "cloudformation:UpdateStack",
    }


# The actions with which CloudFormation resolves a parameter of each type.
RESOLVED_BY = {
    "AWS::EC2::AvailabilityZone::Name": {"ec2:DescribeAvailabilityZones"},
    "AWS::EC2::Subnet::Id": {"ec2:DescribeSubnets"},
    "AWS::EC2::VPC::Id": {"ec2:DescribeVpcs"},
    "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>": {"ssm:GetParameters", "ec2:DescribeImages"},
}


def test_run_may_resolve_parameters() -> None:
    """CloudFormation resolves them with the change set creator's permissions, not the role's."""
    kinds = {each["Type"] for template in DEPLOYED.values() for each in template["Parameters"].values()}
    assert "AWS::EC2::VPC::Id" in kinds
    for kind in kinds - {"String", "Number", "CommaDelimitedList"}:
        assert RESOLVED_BY[kind] <= allowed("DeployRole")
        assert RESOLVED_BY[kind] <= allowed(*POLICIES)


# Services that create a role with an account's first such resource, using the caller's permissions.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/using-service-linked-roles.html
LINKED = {
    "AWS::ApiGatewayV2::Api": "ops.apigateway.amazonaws.com/AWSServiceRoleForAPIGateway",
    "AWS::AutoScaling::AutoScalingGroup": "autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
    "AWS::ECS::Cluster": "ecs.amazonaws.com/AWSServiceRoleForECS",
}


def test_creates_service_linked_roles() -> None:
    """A new account has none of them yet."""
    (linked,) = [each for each in statements(*POLICIES) if each["Action"] == "iam:CreateServiceLinkedRole"]
    names = {each["Fn::Sub"].partition(":role/aws-service-role/")[2] for each in linked["Resource"]}
    assert names == set(LINKED.values())


def test_run_reaches_only_deployed_stacks() -> None:
    stacks = {
        each["Fn::Sub"].rpartition(":stack/")[2].removesuffix("/*")
        for statement in statements("DeployRole")
        for each in listed(statement["Resource"])
        if ":stack/" in str(each)
    }
    assert stacks == {
        "${RelayStack}",
        "${RelayStack}-service",
        *(f"${{RelayStack}}-workflow-{name}" for name in (*OWN_STACKS, "own-*")),
    }


def test_image_tags_are_immutable() -> None:
    images = RESOURCES["Images"]
    assert images["ImageTagMutability"] == "IMMUTABLE"
    assert images["ImageScanningConfiguration"] == {"ScanOnPush": True}
    policy = json.loads(
        images["LifecyclePolicy"]["LifecyclePolicyText"]["Fn::Sub"].replace("${KeptImages}", "20")
    )
    assert [rule["selection"]["tagStatus"] for rule in policy["rules"]] == ["untagged", "any"]


def test_policies_fit_iam_limit() -> None:
    """White space does not count; names are as long as possible."""
    for name, resource in TEMPLATE["Resources"].items():
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            text = json.dumps(resource["Properties"]["PolicyDocument"], separators=(",", ":"))
            text = re.sub(r'\{"Fn::Sub":("[^"]*")\}', r"\1", text)
            for placeholder, value in (
                ("${AWS::Partition}", "aws"),
                ("${AWS::Region}", "ap-northeast-1"),
                ("${AWS::AccountId}", "1" * 12),
                ("${RelayStack}", "r" * 20),
            ):
                text = text.replace(placeholder, value)
            assert len(text) < MAX_POLICY_CHARACTERS, name


def test_wildcards_are_explained() -> None:
    """No action is a pattern, and a comment explains every resource "*"."""
    for name in ("DeployRole", *POLICIES, "Boundary"):
        for statement in statements(name):
            assert statement["Effect"] == "Deny" or "*" not in str(statement["Action"])
    text = STACK_KINDS["github-oidc"].template.read_text()
    for match in re.finditer(r'Resource: "\*"', text):
        before = re.split(r"- Effect: (?:Allow|Deny)", text[: match.start()])[-2]
        assert before.rstrip().rpartition("\n")[2].lstrip().startswith("#")


@pytest.mark.parametrize("section", ["Parameters", "Outputs"])
def test_describes_each(section: str) -> None:
    for name, declared in TEMPLATE[section].items():
        assert declared["Description"].endswith((".", ")", ":")), name


def test_pipeline_deploys_each_workflow(tmp_path: Path) -> None:
    """One for each line of the variable, with the options in it."""
    (step,) = (
        step
        for step in yaml.safe_load(PIPELINE.read_text())["jobs"]["deploy"]["steps"]
        if "WORKFLOWS" in step.get("env", {})
    )
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho "$@"\n')
    docker.chmod(0o755)
    given = {"WORKFLOWS": "admit\n\nworkflows/own-greet.asl.json --posts\n", "IMAGE": "image", "ROLE": "role"}

    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", step["run"]],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "BOUNDARY": "limit", "AWS_REGION": "here", **given},
        capture_output=True,
        text=True,
        check=True,
    )

    rest = "--parameter PermissionsBoundary=limit --region here --role-arn role --no-env --yes"
    assert [line.partition("image ")[2] for line in ran.stdout.splitlines()] == [
        f"deploy workflow admit {rest}",
        f"deploy workflow workflows/own-greet.asl.json --posts {rest}",
    ]


def test_workflow_uses_stack_outputs() -> None:
    workflow = PIPELINE.read_text()
    used = set(re.findall(r"vars\.(\w+)", workflow)) - {
        "AWS_REGION",
        "RELAY_PARAMETERS",
        "SERVICE_PARAMETERS",
        "WORKFLOWS",
    }
    named = {
        found
        for output in TEMPLATE["Outputs"].values()
        for found in re.findall(r"variable (\w+)", output["Description"])
    }
    assert used == named
