"""CloudFormation's role allows what the templates' resource types need, and nothing unused.

Each resource type's schema lists the actions that its handlers call; cfn-lint ships the schemas.
"""

import importlib.resources
import json
import re

import pytest

from infra.deploy.stack_kinds import STACK_KINDS
from tests.unit.infra.github_oidc import DEPLOYED, POLICIES, allowed

# Actions of handlers that the templates do not need, by the unused feature.
UNUSED = {
    "replicas, imports, insights, streams and policies of the table, whose rows are not CloudFormation's": (
        r"dynamodb:(Associate|BatchWrite|CreateTableReplica|Delete(Item|ResourcePolicy)|DescribeImport|DisableKinesis"
        r"|EnableKinesis|GetItem|ImportTable|PutItem|PutResourcePolicy|Query|Scan|UpdateContributorInsights"
        r"|UpdateItem|UpdateKinesis).*|kinesis:.*|s3:ListBucket"
        r"|logs:(CreateLogStream|DescribeLogStreams|PutLogEvents)"
    ),
    "a load balancer, traffic source, hook, notification, refresh or alarm of the group": (
        r"autoscaling:(Attach|Cancel|DeleteLifecycleHook|DeleteNotification|Detach|DisableMetrics|EnableMetrics"
        r"|PutLifecycleHook|PutNotification|StartInstanceRefresh).*|cloudwatch:.*|elasticloadbalancing:.*"
        r"|managed-fleets:.*|vpc-lattice:.*"
    ),
    "wildcards, of which the role lists the actions": (
        r"autoscaling:Describe\*|ec2:Describe\*|ec2:Get\*|ssm:Get\*"
    ),
    "customer managed keys": r"kms:.*|logs:(Associate|Disassociate)KmsKey",
    "ingress rules": (
        r"ec2:(Authorize|Revoke)SecurityGroupIngress|ec2:UpdateSecurityGroupRuleDescriptionsIngress"
    ),
    "a copy of a volume": r"ec2:CopyVolumes",
    "tags that change later": r"ec2:DeleteTags",
    "account settings and capacity providers of the cluster": (
        r"ecs:PutAccountSetting(Default)?|ecs:PutClusterCapacityProviders"
    ),
    "groups": r"iam:(Attach|Detach|Put|Delete|Get)GroupPolicy|iam:(AddUserTo|RemoveUserFrom)Group",
    "a password or access key of the user, which a person creates and deletes": (
        r"iam:(Create|Delete|Update)LoginProfile|iam:DeleteAccessKey"
    ),
    "inline policies of the user": r"iam:(Put|Delete)UserPolicy",
    "removal of a boundary": r"iam:Delete(Role|User)PermissionsBoundary",
    "a change of a role's trust, which a person deploys": r"iam:UpdateAssumeRolePolicy",
    "data protection, indexes, bearer tokens and deletion protection of a log, or its delivery elsewhere": (
        r"firehose:.*|s3:REST\.PUT\.OBJECT|logs:(Put|Delete)(DataProtection|Index)Policy"
        r"|logs:PutBearerTokenAuthentication|logs:PutLogGroupDeletionProtection|logs:DeleteResourcePolicy"
    ),
    "a definition or an API in a bucket": r"s3:[Gg]et.*",
    "actions unknown to IAM; tags use HTTP methods too": r"apigateway:(Un)?[Tt]agResource",
}


def handled(resource_type: str) -> set[str]:
    """Return the actions that the resource type's handlers call."""
    schemas = importlib.resources.files("cfnlint") / "data" / "schemas"
    names = json.loads((schemas / "providers" / "us-east-1.json").read_text())
    schema = json.loads((schemas / "resources" / f"{names[resource_type]}.json").read_text())
    return {
        action
        for kind, handler in schema["handlers"].items()
        if kind != "list"
        for action in handler["permissions"]
    }


@pytest.mark.parametrize("template", sorted(DEPLOYED))
def test_allows_what_handlers_call(template: str) -> None:
    """CloudFormation's role allows every action that the templates' resource types need."""
    unused = re.compile("|".join(UNUSED.values()))
    may = allowed(*POLICIES)
    # From the text, to include resources in loops.
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


def test_unused_actions_are_not_allowed() -> None:
    """Else the table would hide actions that it should not."""
    unused = re.compile("|".join(UNUSED.values()))
    assert {action for action in allowed(*POLICIES) if unused.fullmatch(action)} == set()
