"""The three steps of a pipeline's permissions: enough for what it deploys, and no way out of them.

What CloudFormation's role needs is told by the resource types themselves: each schema lists what its handlers
call. cfn-lint carries the schemas.
"""

import importlib.resources
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from infra.deploy.engine import TEMPLATE as RELAY_TEMPLATE
from infra.deploy.stack_kinds import STACK_KINDS
from tooling.template_yaml import load_template

TEMPLATE = load_template(STACK_KINDS["github-oidc"].template.read_text())
RESOURCES: dict[str, Any] = {name: value["Properties"] for name, value in TEMPLATE["Resources"].items()}
DEPLOYED = {name: load_template(STACK_KINDS[name].template.read_text()) for name in ("relay", "service")}
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
MAX_POLICY_CHARACTERS = 6144

# What handlers call for properties that the templates do not have, by why not.
UNUSED = {
    "a load balancer, traffic source, hook, notification, refresh or alarm of the group": (
        r"autoscaling:(Attach|Cancel|DeleteLifecycleHook|DeleteNotification|Detach|DisableMetrics|EnableMetrics"
        r"|PutLifecycleHook|PutNotification|StartInstanceRefresh).*|cloudwatch:.*|elasticloadbalancing:.*"
        r"|managed-fleets:.*|vpc-lattice:.*"
    ),
    "everything that can be described, of which the role lists what there is": (
        r"autoscaling:Describe\*|ec2:Describe\*|ec2:Get\*|ssm:Get\*"
    ),
    "a key of one's own": r"kms:.*|logs:(Associate|Disassociate)KmsKey",
    "rules that let something in": (
        r"ec2:(Authorize|Revoke)SecurityGroupIngress|ec2:UpdateSecurityGroupRuleDescriptionsIngress"
    ),
    "a copy of a volume": r"ec2:CopyVolumes",
    "tags that change later": r"ec2:DeleteTags",
    "account settings and capacity providers of the cluster": (
        r"ecs:PutAccountSetting(Default)?|ecs:PutClusterCapacityProviders"
    ),
    "groups": r"iam:(Attach|Detach|Put|Delete|Get)GroupPolicy|iam:(AddUserTo|RemoveUserFrom)Group",
    "a password or a key of the user, which a person makes and deletes": (
        r"iam:(Create|Delete|Update)LoginProfile|iam:DeleteAccessKey"
    ),
    "inline policies of the user": r"iam:(Put|Delete)UserPolicy",
    "a boundary that goes away": r"iam:Delete(Role|User)PermissionsBoundary",
    "data protection, indexes, bearer tokens and deletion protection of a log, or its delivery elsewhere": (
        r"firehose:.*|s3:REST\.PUT\.OBJECT|logs:(Put|Delete)(DataProtection|Index)Policy"
        r"|logs:PutBearerTokenAuthentication|logs:PutLogGroupDeletionProtection|logs:DeleteResourcePolicy"
    ),
    "a definition or an API in a bucket": r"s3:[Gg]et.*",
    "actions that IAM does not know; tags have HTTP's methods, too": r"apigateway:(Un)?[Tt]agResource",
}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(*resources: str) -> Iterator[dict[str, Any]]:
    """Every statement of the policies, or of the roles' inline policies, that are named."""
    for name in resources:
        properties = RESOURCES[name]
        for policy in properties.get("Policies", [properties]):
            yield from policy["PolicyDocument"]["Statement"]


def allowed(*resources: str) -> set[str]:
    return {
        action
        for statement in statements(*resources)
        if statement["Effect"] == "Allow"
        for action in listed(statement["Action"])
    }


def found(node: Any) -> Iterator[dict[str, Any]]:
    """Every statement below *node*, of whatever policy, trust included."""
    if isinstance(node, list):
        for item in node:
            yield from found(item)
    elif isinstance(node, dict):
        if {"Effect", "Action"} <= node.keys():
            yield node
        for value in node.values():
            yield from found(value)


POLICIES = [each["Ref"] for each in RESOURCES["CloudFormationRole"]["ManagedPolicyArns"]]


def handled(resource_type: str) -> set[str]:
    """What the handlers of the resource type call."""
    schemas = importlib.resources.files("cfnlint") / "data" / "schemas"
    names = json.loads((schemas / "providers" / "us-east-1.json").read_text())
    schema = json.loads((schemas / "resources" / f"{names[resource_type]}.json").read_text())
    return {
        action
        for kind, handler in schema["handlers"].items()
        if kind != "list"
        for action in handler["permissions"]
    }


def test_a_run_is_known_by_its_repository_and_environment_whole() -> None:
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
def test_a_repository_is_named_in_either_of_githubs_forms(name: str, taken: bool) -> None:
    pattern = TEMPLATE["Parameters"]["Repository"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, name)) is taken


@pytest.mark.parametrize("template", sorted(DEPLOYED))
def test_cloudformation_may_do_what_the_resource_types_ask_for(template: str) -> None:
    unused = re.compile("|".join(UNUSED.values()))
    may = allowed(*POLICIES)
    # Of the text, because of what is in a loop.
    kinds = set(
        re.findall(r"Type: (AWS::\w+::\w+)$", STACK_KINDS[template].template.read_text(), re.MULTILINE)
    )

    missing = {
        action: kind
        for kind in kinds
        for action in handled(kind)
        if action not in may and not unused.fullmatch(action)
    }

    assert missing == {}


def test_everything_that_is_called_unused_is_not_allowed() -> None:
    """Else the table would hide what it should not."""
    unused = re.compile("|".join(UNUSED.values()))
    assert {action for action in allowed(*POLICIES) if unused.fullmatch(action)} == set()


def test_cloudformation_makes_no_role_or_user_without_the_boundary() -> None:
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


def test_cloudformation_cannot_touch_the_roles_and_policies_of_this_stack() -> None:
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
def test_a_relay_has_a_name_that_is_whole_in_those_of_its_roles(name: str, taken: bool) -> None:
    """CloudFormation leaves a stack at least 24 of a role's 64 characters."""
    pattern = TEMPLATE["Parameters"]["RelayStack"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, name)) is taken


def test_a_group_can_get_its_tag_last_and_nothing_else_can_be_taken_over() -> None:
    """CloudFormation may make the group, then its rules, then its tag; a volume's data is not had so."""
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


def test_a_role_is_passed_only_to_those_whom_the_templates_name() -> None:
    (passed,) = [each for each in statements(*POLICIES) if each["Action"] == "iam:PassRole"]
    trusted = {
        service
        for template in DEPLOYED.values()
        for statement in found(template["Resources"])
        for service in listed(statement.get("Principal", {}).get("Service", []))
    }
    assert set(passed["Condition"]["StringEquals"]["iam:PassedToService"]) == trusted


def test_the_boundary_leaves_room_for_what_the_templates_grant_and_no_more() -> None:
    """More is only what AmazonSSMManagedInstanceCore grants, which ShellAccess adds."""
    granted = {
        action
        for template in DEPLOYED.values()
        for statement in found(template["Resources"])
        if "Resource" in statement
        for action in listed(statement["Action"])
    }
    extra = {action for action in allowed("Boundary") if action.startswith(("ssm:", "ssmmessages:"))}
    assert allowed("Boundary") - extra == granted


def test_the_boundary_gives_no_hold_on_identities_or_on_other_secrets() -> None:
    assert not {action for action in allowed("Boundary") if action.startswith(("iam:", "sts:"))}
    (secrets,) = [
        each for each in statements("Boundary") if "secretsmanager:GetSecretValue" in listed(each["Action"])
    ]
    assert secrets["Resource"]["Fn::Sub"].endswith(":secret:${RelayStack}/*")


def test_a_run_can_only_hand_over_change_sets_with_the_role() -> None:
    stacks, transform = [
        each
        for each in statements("DeployRole")
        if "cloudformation:CreateChangeSet" in listed(each["Action"])
    ]
    assert stacks["Condition"] == {
        "StringEquals": {"cloudformation:RoleArn": {"Fn::GetAtt": ["CloudFormationRole", "Arn"]}}
    }
    # AWS asks about it by itself, and names no role then.
    assert "Condition" not in transform
    declared = DEPLOYED["relay"]["Transform"].removeprefix("AWS::")
    assert transform["Resource"]["Fn::Sub"].endswith(f":aws:transform/{declared}")
    assert not allowed("DeployRole") & {
        "cloudformation:CreateStack",
        "cloudformation:SetStackPolicy",
        "cloudformation:UpdateStack",
    }


# What CloudFormation calls to look up the value of a parameter of such a type.
LOOKED_UP_BY = {
    "AWS::EC2::AvailabilityZone::Name": {"ec2:DescribeAvailabilityZones"},
    "AWS::EC2::Subnet::Id": {"ec2:DescribeSubnets"},
    "AWS::EC2::VPC::Id": {"ec2:DescribeVpcs"},
    "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>": {"ssm:GetParameters", "ec2:DescribeImages"},
}


def test_a_run_may_look_up_what_the_parameters_name() -> None:
    """CloudFormation does so as the one who hands over the change set, not as the role."""
    kinds = {each["Type"] for template in DEPLOYED.values() for each in template["Parameters"].values()}
    assert "AWS::EC2::VPC::Id" in kinds
    for kind in kinds - {"String", "Number", "CommaDelimitedList"}:
        assert LOOKED_UP_BY[kind] <= allowed("DeployRole")
        assert LOOKED_UP_BY[kind] <= allowed(*POLICIES)


# Services that make themselves a role with an account's first such resource, as whoever makes that.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/using-service-linked-roles.html
LINKED = {
    "AWS::ApiGatewayV2::Api": "ops.apigateway.amazonaws.com/AWSServiceRoleForAPIGateway",
    "AWS::AutoScaling::AutoScalingGroup": "autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
    "AWS::ECS::Cluster": "ecs.amazonaws.com/AWSServiceRoleForECS",
}


def test_works_in_an_account_that_has_had_none_of_it_before() -> None:
    (linked,) = [each for each in statements(*POLICIES) if each["Action"] == "iam:CreateServiceLinkedRole"]
    names = {each["Fn::Sub"].partition(":role/aws-service-role/")[2] for each in linked["Resource"]}
    assert names == set(LINKED.values())


def test_a_run_reaches_the_two_stacks_and_not_this_one() -> None:
    stacks = {
        each["Fn::Sub"].rpartition(":stack/")[2].removesuffix("/*")
        for statement in statements("DeployRole")
        for each in listed(statement["Resource"])
        if ":stack/" in str(each)
    }
    assert stacks == {"${RelayStack}" + STACK_KINDS[name].suffix for name in DEPLOYED}


def test_images_stay_what_they_were() -> None:
    images = RESOURCES["Images"]
    assert images["ImageTagMutability"] == "IMMUTABLE"
    assert images["ImageScanningConfiguration"] == {"ScanOnPush": True}
    policy = json.loads(
        images["LifecyclePolicy"]["LifecyclePolicyText"]["Fn::Sub"].replace("${KeptImages}", "20")
    )
    assert [rule["selection"]["tagStatus"] for rule in policy["rules"]] == ["untagged", "any"]


def test_no_policy_is_too_long_for_iam() -> None:
    """White space does not count; names are as long as they may be."""
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


def test_no_action_is_a_pattern_and_every_resource_for_all_is_explained() -> None:
    for name in ("DeployRole", *POLICIES, "Boundary"):
        for statement in statements(name):
            assert statement["Effect"] == "Deny" or "*" not in str(statement["Action"])
    text = STACK_KINDS["github-oidc"].template.read_text()
    for match in re.finditer(r'Resource: "\*"', text):
        before = text[: match.start()].rpartition("- Effect: Allow")[0]
        assert before.rstrip().rpartition("\n")[2].lstrip().startswith("#")


@pytest.mark.parametrize("section", ["Parameters", "Outputs"])
def test_describes_each(section: str) -> None:
    for name, declared in TEMPLATE[section].items():
        assert declared["Description"].endswith((".", ")", ":")), name


def test_the_workflow_uses_what_the_stack_puts_out() -> None:
    workflow = (RELAY_TEMPLATE.parents[1] / ".github/workflows/deploy.yml").read_text()
    used = set(re.findall(r"vars\.(\w+)", workflow)) - {
        "AWS_REGION",
        "RELAY_PARAMETERS",
        "SERVICE_PARAMETERS",
    }
    named = {
        found
        for output in TEMPLATE["Outputs"].values()
        for found in re.findall(r"variable (\w+)", output["Description"])
    }
    assert used == named
