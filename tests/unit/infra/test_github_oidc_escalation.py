"""A pipeline run reaches no identity that it did not make, decided as IAM decides."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from infra.deploy.engine import TEMPLATE as RELAY_TEMPLATE
from infra.deploy.stack_kinds import STACK_KINDS
from tests.unit.infra.decisions import is_allowed
from tests.unit.infra.github_oidc import DEPLOYED, POLICIES
from tests.unit.infra.resolved import Resolved
from workflow.registry import WORKFLOWS

PIPELINE = Resolved(STACK_KINDS["github-oidc"].template, RelayStack="voice-relay")
IAM = "arn:aws:iam::123456789012:{}"
STACK = "arn:aws:cloudformation:us-east-1:123456789012:stack/voice-relay/1a2b"
BOUNDED = {"iam:PermissionsBoundary": "Boundary"}
# Roles that people make: by hand, in the alarms' stack, and in a stack beside the relay's.
FOREIGN = (
    "voice-relay-admin",
    "voice-relay-monitoring-Role-1A2B",
    "voice-relay-hello-PostingRole-1A2B",
    "voice-relay-workflow-mine-MachineRole-1A2B",
    "voice-relay-workflow-admit-2-StartRole-1A2B",
    "admin",
)
# Workflows with stacks of their own that the pipeline may deploy.
WORKFLOW_NAMES = [*(name for name, workflow in WORKFLOWS.items() if workflow.own_stack), "own-greet"]
TRUSTED_BY = {
    "apigateway.amazonaws.com": ["IngressIntegrationRole", "StartRole"],
    "ec2.amazonaws.com": ["InstanceRole"],
    "ecs-tasks.amazonaws.com": ["TaskRole", "ExecutionRole"],
    "states.amazonaws.com": [
        "PostingRole",
        "HeartbeatStateMachineRole",
        "StatusStateMachineRole",
        "MachineRole",
    ],
}


def run_may(action: str, resource: str, **context: str | list[str]) -> bool:
    """Return whether a run of the workflow may do it itself."""
    policies = PIPELINE.of_type("IAM::Role")["DeployRole"]["Policies"]
    statements = (each for policy in policies for each in policy["PolicyDocument"]["Statement"])
    return is_allowed(statements, action, resource, context)


def stack_may(action: str, resource: str, context: dict[str, str] | None = None) -> bool:
    """Return whether CloudFormation may do it for the run's template."""
    policies = PIPELINE.of_type("IAM::ManagedPolicy")
    statements = (each for name in POLICIES for each in policies[name]["PolicyDocument"]["Statement"])
    return is_allowed(statements, action, resource, context)


def generated_names(kind: str) -> Iterator[str]:
    """Yield names as CloudFormation generates them; a name in a template could be imported by it."""
    stacks = [("workflow", f"-workflow-{name}") for name in WORKFLOW_NAMES]
    for template, suffix in (("relay", ""), ("service", "-service"), *stacks):
        for logical_id, declared in DEPLOYED[template]["Resources"].items():
            # A loop is a list.
            if isinstance(declared, dict) and declared["Type"] == f"AWS::IAM::{kind}":
                assert (
                    not {"RoleName", "ManagedPolicyName", "InstanceProfileName"}
                    & declared["Properties"].keys()
                )
                yield f"voice-relay{suffix}-{logical_id}-1A2B3C4D5E6F"


@pytest.mark.parametrize("name", [*FOREIGN, *generated_names("Role")])
def test_changes_no_trust(name: str) -> None:
    """IAM has no condition on the boundary for this action, so the pipeline lacks it."""
    assert not stack_may("iam:UpdateAssumeRolePolicy", IAM.format(f"role/{name}"), BOUNDED)


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize(
    "action",
    [
        "PutRolePolicy",
        "AttachRolePolicy",
        "PutRolePermissionsBoundary",
        "TagRole",
        "UpdateRole",
        "DeleteRole",
    ],
)
def test_touches_no_foreign_role(name: str, action: str) -> None:
    assert not stack_may(f"iam:{action}", IAM.format(f"role/{name}"), BOUNDED)


@pytest.mark.parametrize("service", TRUSTED_BY)
def test_passes_only_roles_of_templates(service: str) -> None:
    """Each service gets roles of the stack that uses it, and none that a person made."""
    context = {"iam:PassedToService": service}
    passed = {
        name
        for name in [*generated_names("Role"), *FOREIGN]
        if stack_may("iam:PassRole", IAM.format(f"role/{name}"), context)
    }
    in_service = service in ("ec2.amazonaws.com", "ecs-tasks.amazonaws.com")
    assert {name.split("-")[-2] for name in passed} >= set(TRUSTED_BY[service])
    assert all(name.startswith("voice-relay-service-") is in_service for name in passed)
    assert not passed & set(FOREIGN)


@pytest.mark.parametrize("name", list(generated_names("Role")))
def test_bounded_roles_can_be_made(name: str) -> None:
    role = IAM.format(f"role/{name}")
    for action in ("CreateRole", "PutRolePolicy", "AttachRolePolicy", "PutRolePermissionsBoundary"):
        assert stack_may(f"iam:{action}", role, BOUNDED)
        assert not stack_may(f"iam:{action}", role)
        assert not stack_may(f"iam:{action}", role, {"iam:PermissionsBoundary": IAM.format("policy/wide")})
    assert stack_may("iam:DeleteRole", role)
    assert not stack_may("iam:DeleteRolePermissionsBoundary", role, BOUNDED)


def test_rewrites_only_policies_of_relay() -> None:
    """Another policy may be attached to something without the boundary."""
    for name in generated_names("ManagedPolicy"):
        assert stack_may("iam:CreatePolicyVersion", IAM.format(f"policy/{name}"))
    for name in (
        "voice-relay-admins",
        "voice-relay-hello-BotPolicy-1A2B",
        "voice-relay-workflow-mine-StartPolicy-1A2B",
    ):
        assert not stack_may("iam:CreatePolicyVersion", IAM.format(f"policy/{name}"))


def test_updates_only_machines_of_relay() -> None:
    """Another state machine may have a role without the boundary, which an update of its definition uses."""
    arn = "arn:aws:states:us-east-1:123456789012:stateMachine:{}"
    named = [
        resource["Properties"]["StateMachineName"]["Fn::Sub"].replace("${AWS::StackName}", "voice-relay")
        for resource in DEPLOYED["relay"]["Resources"].values()
        if isinstance(resource, dict) and resource["Type"] == "AWS::StepFunctions::StateMachine"
    ]
    assert len(named) > 3
    for name in [*named, *(f"voice-relay-{name}" for name in WORKFLOW_NAMES)]:
        assert stack_may("states:UpdateStateMachine", arn.format(name))
    for name in (
        "voice-relay-admin",
        "voice-relay-notify-2",
        "voice-relay-hello-notify",
        "voice-relay-greet",
    ):
        assert not stack_may("states:UpdateStateMachine", arn.format(name))


def test_instance_profile_is_the_services() -> None:
    (name,) = generated_names("InstanceProfile")
    assert stack_may("iam:AddRoleToInstanceProfile", IAM.format(f"instance-profile/{name}"))
    assert not stack_may("iam:AddRoleToInstanceProfile", IAM.format("instance-profile/voice-relay-admin"))


def test_imports_nothing() -> None:
    """A change set may not list resources to import, with or without the role."""
    role: dict[str, Any] = {"cloudformation:RoleArn": "CloudFormationRole"}
    create = "cloudformation:CreateChangeSet"
    assert run_may(create, STACK, **role)
    assert not run_may(create, STACK, **role, **{"cloudformation:ImportResourceTypes": ["AWS::IAM::Role"]})
    assert not run_may(create, STACK, **{"cloudformation:ImportResourceTypes": ["AWS::IAM::Role"]})


def test_change_set_takes_no_other_role() -> None:
    create = "cloudformation:CreateChangeSet"
    assert not run_may(create, STACK)
    assert not run_may(create, STACK, **{"cloudformation:RoleArn": IAM.format("role/admin")})
    assert not run_may(
        "iam:PassRole", IAM.format("role/admin"), **{"iam:PassedToService": "cloudformation.amazonaws.com"}
    )


def test_generated_names_stay_whole() -> None:
    """A role's name has up to 64 characters; CloudFormation would shorten a longer one."""
    longest = "r" * 20
    names = [*generated_names("Role"), *generated_names("ManagedPolicy"), *generated_names("InstanceProfile")]
    assert len(names) > 10
    assert all(len(name.replace("voice-relay", longest, 1)) <= 64 for name in names)


def test_loops_make_no_identity() -> None:
    """Roles in a loop would have other names than those that the pipeline may make."""
    text = RELAY_TEMPLATE.read_text()
    kinds = re.findall(r"Type: AWS::IAM::(\w+)$", text, re.MULTILINE)
    resources = DEPLOYED["relay"]["Resources"].values()
    declared = [each["Type"] for each in resources if isinstance(each, dict)]
    for kind in ("Role", "ManagedPolicy", "User"):
        assert kinds.count(kind) == declared.count(f"AWS::IAM::{kind}")


def test_decides_as_iam_does() -> None:
    """The evaluator itself: patterns, missing keys and the precedence of a denial."""
    allow = {"Effect": "Allow", "Action": "iam:Get*", "Resource": "arn:a-?", "Condition": {}}
    deny = {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"Null": {"key": "false"}}}
    assert is_allowed([allow], "iam:GetRole", "arn:a-1")
    assert not is_allowed([allow], "iam:GetRole", "arn:a-12")
    assert not is_allowed([allow], "iam:PutRole", "arn:a-1")
    assert is_allowed([allow, deny], "iam:GetRole", "arn:a-1")
    assert not is_allowed([allow, deny], "iam:GetRole", "arn:a-1", {"key": "x"})
    wanting = {**allow, "Condition": {"StringEquals": {"key": ["x", "y"]}}}
    assert not is_allowed([wanting], "iam:GetRole", "arn:a-1")
    assert is_allowed([wanting], "iam:GetRole", "arn:a-1", {"key": "y"})
