"""A stack's lifecycle: creation, every kind of change, and a deletion that leaves nothing behind."""

import json
import re
from typing import Any

import pytest

from infra.local.aws import EmbeddedAws
from tests.integration.infra.inventory import Kinds, take_inventory
from tests.integration.infra.relay import WAITING, Relay, Webhook, change, new_relay, unique

CHANGES = {
    "Destinations": "default,mods",
    "AllowedCidrs": "127.0.0.0/8",
    "CorsOrigins": "https://relay.example",
    "CreateBotUser": "true",
    "Tracing": "true",
    "DigestDelaySeconds": "7",
    "LogRetentionDays": "90",
}
BACK = {
    "Destinations": "default",
    "AllowedCidrs": "",
    "CorsOrigins": "",
    "CreateBotUser": "false",
    "Tracing": "false",
    "DigestDelaySeconds": "300",
    "LogRetentionDays": "30",
}


def _with_a_second_webhook(relay: Relay) -> dict[str, str]:
    """The changes, plus the secret's version with the second webhook."""
    put = relay.aws.client("secretsmanager").put_secret_value(
        SecretId=f"{relay.stack_name}/webhooks",
        SecretString=json.dumps({"default": relay.webhook.url, "mods": relay.webhook.url}),
    )
    return CHANGES | {"WebhookSecretVersion": put["VersionId"]}


_KINDS: Kinds = {
    "apis": ("apigatewayv2", "get_apis", "Items", "ApiId"),
    "roles": ("iam", "list_roles", "Roles", "RoleName"),
    "policies": ("iam", "list_policies", "Policies", "Arn"),
    "users": ("iam", "list_users", "Users", "UserName"),
    "machines": ("stepfunctions", "list_state_machines", "stateMachines", "stateMachineArn"),
    "logs": ("logs", "describe_log_groups", "logGroups", "logGroupName"),
    "exports": ("cloudformation", "list_exports", "Exports", "Name"),
}


def _configured(relay: Relay) -> dict[str, Any]:
    """Read back from the services what the changes affect."""
    outputs, client = relay.outputs, relay.aws.client
    states, apis = client("stepfunctions"), client("apigatewayv2")
    digest = states.describe_state_machine(stateMachineArn=outputs["DigestStateMachineArn"])
    policy = client("iam").get_policy(PolicyArn=outputs["BotPolicyArn"])["Policy"]
    version = client("iam").get_policy_version(
        PolicyArn=outputs["BotPolicyArn"], VersionId=policy["DefaultVersionId"]
    )
    attached = client("iam").list_attached_role_policies(RoleName=digest["roleArn"].rpartition("/")[2])[
        "AttachedPolicies"
    ]
    (log,) = client("logs").describe_log_groups(logGroupNamePrefix=outputs["DigestExecutionLogName"])[
        "logGroups"
    ]
    return {
        "routes": {route["RouteKey"] for route in apis.get_routes(ApiId=outputs["ProxyApiId"])["Items"]},
        "addresses": version["PolicyVersion"]["Document"]["Statement"][0].get("Condition"),
        "origins": apis.get_api(ApiId=outputs["IngressApiId"])
        .get("CorsConfiguration", {})
        .get("AllowOrigins"),
        "users": {
            user["UserName"]
            for user in client("iam").list_users()["Users"]
            if user["UserName"] == f"{relay.stack_name}-bot"
        },
        # The embedded AWS stores no tracing or logging settings of state machines.
        "policies": len(attached),
        "delay": re.findall(
            r"\$number\('(.*?)'\)", json.loads(digest["definition"])["States"]["WaitForQuiet"]["Seconds"]
        ),
        "retention": log["retentionInDays"],
    }


def test_applies_and_reverts_parameters(aws: EmbeddedAws, webhook: Webhook) -> None:
    relay = new_relay(aws, webhook)
    before = _configured(relay)

    change(relay, _with_a_second_webhook(relay))

    assert _configured(relay) == {
        "routes": {"POST /destinations/default", "POST /destinations/mods"},
        "addresses": {"IpAddress": {"aws:SourceIp": ["127.0.0.0/8"]}},
        "origins": ["https://relay.example"],
        "users": {f"{relay.stack_name}-bot"},
        "policies": 2,
        "delay": ["7"],
        "retention": 90,
    }
    change(relay, BACK)
    assert _configured(relay) == before
    name = unique("after")
    assert relay.start(name).status == 200
    assert relay.finished(name)["status"] == "SUCCEEDED"


@pytest.mark.parametrize("changed", [False, True], ids=["as created", "with everything"])
def test_deletion_leaves_nothing(changed: bool, aws: EmbeddedAws, webhook: Webhook) -> None:
    before = take_inventory(aws, _KINDS)
    relay = new_relay(aws, webhook)
    if changed:
        change(relay, _with_a_second_webhook(relay))
    users = _detach_callers(aws, relay)
    made = take_inventory(aws, _KINDS)
    # The stack has made something of every kind.
    assert {kind for kind in made if made[kind] > before[kind]} == made.keys()

    cloudformation = aws.client("cloudformation")
    cloudformation.delete_stack(StackName=relay.stack_name)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=relay.stack_name, WaiterConfig=WAITING)

    after = take_inventory(aws, _KINDS)
    after["users"] -= users
    assert after == before


def _detach_callers(aws: EmbeddedAws, relay: Relay) -> set[str]:
    """Detach the policies from the test's own users, and return their names."""
    iam = aws.client("iam")
    names = set()
    for policy in ("BotPolicyArn", "OperatorPolicyArn"):
        arn = relay.outputs[policy]
        for user in iam.list_entities_for_policy(PolicyArn=arn)["PolicyUsers"]:
            if user["UserName"] != relay.outputs.get("BotUserName", f"{relay.stack_name}-bot"):
                iam.detach_user_policy(UserName=user["UserName"], PolicyArn=arn)
                names.add(user["UserName"])
    return names
