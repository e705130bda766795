"""The service's template: at most one task, confined, with durable data and minimal roles."""

import json
import re
from typing import Any

import pytest

from bot.settings.settings import Settings
from bot.settings.sources import PREFIX
from infra.deploy.engine import TEMPLATE as RELAY_TEMPLATE
from tests.support.footprint import RELAY_MIB, RELAY_THREADS
from tooling.template_yaml import load_template

TEMPLATE = load_template(RELAY_TEMPLATE.with_name("service.yaml").read_text())
RELAY = load_template(RELAY_TEMPLATE.read_text())
RESOURCES: dict[str, Any] = {name: value["Properties"] for name, value in TEMPLATE["Resources"].items()}
(CONTAINER,) = RESOURCES["TaskDefinition"]["ContainerDefinitions"]
INSTANCE = RESOURCES["LaunchTemplate"]["LaunchTemplateData"]


def found(node: Any, key: str) -> list[Any]:
    """Return every value of *key* at any depth."""
    if isinstance(node, list):
        return [value for item in node for value in found(item, key)]
    if not isinstance(node, dict):
        return []
    own = [node[key]] if key in node else []
    return own + [value for item in node.values() for value in found(item, key)]


def statements(role: str) -> list[dict[str, Any]]:
    """Return the statements of the role's own policies, conditional ones included."""
    return [
        statement.get("Fn::If", [None, statement])[1]
        for policy in RESOURCES[role]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def actions(statement: dict[str, Any]) -> set[str]:
    named = statement["Action"]
    return {named} if isinstance(named, str) else set(named)


@pytest.mark.parametrize("section", ["Parameters", "Outputs"])
def test_describes_parameters_and_outputs(section: str) -> None:
    for name, declared in TEMPLATE[section].items():
        assert declared["Description"].endswith((".", ")", ":")), name


def test_groups_parameters_and_exports_outputs() -> None:
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(TEMPLATE["Parameters"])
    for name, output in TEMPLATE["Outputs"].items():
        assert output["Export"]["Name"] == {"Fn::Sub": f"${{AWS::StackName}}-{name}"}


def test_imports_exist_in_relay() -> None:
    imported = {
        value["Fn::Sub"].removeprefix("${RelayStack}-") for value in found(RESOURCES, "Fn::ImportValue")
    }
    assert imported == {"ActionsActivityArn", "ApiEndpoint", "BotPolicyArn"}
    assert imported <= RELAY["Outputs"].keys()


def test_scan_exceptions_have_reasons() -> None:
    for skip in found(TEMPLATE["Resources"], "skip"):
        assert all(len(entry["comment"]) > 30 for entry in skip)


def test_never_runs_two_tasks() -> None:
    service, group = RESOURCES["Service"], RESOURCES["Group"]
    deployment = service["DeploymentConfiguration"]
    assert (service["DesiredCount"], deployment["MaximumPercent"]) == (1, 100)
    assert deployment["MinimumHealthyPercent"] == 0
    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    # Rebalancing would first start a second task in another zone.
    assert service["AvailabilityZoneRebalancing"] == "DISABLED"
    assert (group["MinSize"], group["MaxSize"]) == ("1", "1")
    assert group["InstanceMaintenancePolicy"] == {"MinHealthyPercentage": 0, "MaxHealthyPercentage": 100}
    update = TEMPLATE["Resources"]["Group"]["UpdatePolicy"]["AutoScalingRollingUpdate"]
    assert (update["MinInstancesInService"], update["WaitOnResourceSignals"]) == (0, True)


def test_container_is_confined() -> None:
    assert CONTAINER["User"] == "10001:10001"
    assert CONTAINER["ReadonlyRootFilesystem"] is True
    assert CONTAINER["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    (scratch,) = CONTAINER["LinuxParameters"]["Tmpfs"]
    assert (scratch["ContainerPath"], "noexec" in scratch["MountOptions"]) == ("/tmp", True)
    assert not {"Privileged", "PortMappings", "DockerSecurityOptions"} & CONTAINER.keys()
    assert RESOURCES["Service"]["EnableExecuteCommand"] is False


def test_limits_memory_and_processes() -> None:
    """Even the smallest limit holds the relay, which has no embedded AWS beside it there."""
    (scratch,) = CONTAINER["LinuxParameters"]["Tmpfs"]
    limit = TEMPLATE["Parameters"]["MemoryMiB"]
    assert CONTAINER["Memory"] == {"Ref": "MemoryMiB"}
    assert limit["Default"] >= 2 * (RELAY_MIB + scratch["Size"])
    assert limit["MinValue"] > RELAY_MIB + scratch["Size"]
    script = INSTANCE["UserData"]["Fn::Base64"]["Fn::Sub"]
    (tasks,) = re.findall(r"ECS_TASK_PIDS_LIMIT=(\d+) .*ecs\.config$", script, re.MULTILINE)
    assert int(tasks) > 4 * RELAY_THREADS


def test_container_settings_exist() -> None:
    environment = {
        entry["Name"]: entry["Value"]
        for given in CONTAINER["Environment"]
        for entry in [given.get("Fn::If", [None, given])[1]]
    }
    (secret,) = CONTAINER["Secrets"]
    assert secret == {"Name": f"{PREFIX}DISCORD_TOKEN", "ValueFrom": {"Ref": "TokenSecretArn"}}
    assert {*environment, secret["Name"]} <= {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert environment[f"{PREFIX}LOG_FORMAT"] == "json"
    assert float(environment[f"{PREFIX}SHUTDOWN_GRACE_S"]) + 5 <= CONTAINER["StopTimeout"]


def test_health_check_matches_image() -> None:
    dockerfile = (RELAY_TEMPLATE.parents[1] / "Dockerfile").read_text()
    kind, *command = CONTAINER["HealthCheck"]["Command"]
    assert (kind, command) == (
        "CMD",
        json.loads(dockerfile[dockerfile.index('CMD ["python"') :][4:].split("\n")[0]),
    )


def test_log_driver_does_not_block() -> None:
    options = CONTAINER["LogConfiguration"]["Options"]
    assert (options["mode"], options["awslogs-group"]) == ("non-blocking", {"Ref": "Log"})
    assert RESOURCES["Log"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_security_group_allows_only_https_out() -> None:
    group = RESOURCES["SecurityGroup"]
    assert "SecurityGroupIngress" not in group
    (egress,) = group["SecurityGroupEgress"]
    assert (egress["IpProtocol"], egress["FromPort"], egress["ToPort"]) == ("tcp", 443, 443)


def test_container_cannot_use_instance_credentials() -> None:
    assert INSTANCE["MetadataOptions"] == {
        "HttpEndpoint": "enabled",
        "HttpTokens": "required",
        "HttpPutResponseHopLimit": 1,
    }
    assert RESOURCES["TaskDefinition"]["NetworkMode"] == "bridge"


def test_data_outlives_task_and_stack() -> None:
    volume = TEMPLATE["Resources"]["Data"]
    assert (volume["DeletionPolicy"], volume["UpdateReplacePolicy"]) == ("Snapshot", "Snapshot")
    assert volume["Properties"]["Encrypted"] is True
    (data,) = RESOURCES["TaskDefinition"]["Volumes"]
    assert data["Host"]["SourcePath"] == "/srv/voice-relay/data"
    assert CONTAINER["MountPoints"] == [{"SourceVolume": "data", "ContainerPath": "/data", "ReadOnly": False}]


def test_task_role_has_bot_policy_only() -> None:
    role = RESOURCES["TaskRole"]
    assert role["ManagedPolicyArns"] == [{"Fn::ImportValue": {"Fn::Sub": "${RelayStack}-BotPolicyArn"}}]
    assert "Policies" not in role


def test_roles_have_boundary() -> None:
    for name in ("TaskRole", "ExecutionRole", "InstanceRole"):
        assert RESOURCES[name]["PermissionsBoundary"]["Fn::If"][1] == {"Ref": "PermissionsBoundary"}


@pytest.mark.parametrize(
    ("role", "granted"),
    [
        (
            "ExecutionRole",
            {
                "ecr:BatchCheckLayerAvailability": "repository/${ImageRepository}",
                "ecr:BatchGetImage": "repository/${ImageRepository}",
                "ecr:GetAuthorizationToken": "*",
                "ecr:GetDownloadUrlForLayer": "repository/${ImageRepository}",
                "kms:Decrypt": "TokenKeyArn",
                "logs:CreateLogStream": "Log",
                "logs:PutLogEvents": "Log",
                "secretsmanager:GetSecretValue": "TokenSecretArn",
            },
        ),
        (
            "InstanceRole",
            {
                "cloudformation:SignalResource": "AWS::StackId",
                "ec2:AttachVolume": "volume/${Data} instance/*",
                "ecs:DiscoverPollEndpoint": "*",
                "ecs:Poll": "container-instance/${Cluster}/*",
                "ecs:RegisterContainerInstance": "Cluster",
                "ecs:StartTelemetrySession": "container-instance/${Cluster}/*",
                "ecs:SubmitAttachmentStateChanges": "Cluster",
                "ecs:SubmitContainerStateChange": "Cluster",
                "ecs:SubmitTaskStateChange": "Cluster",
            },
        ),
    ],
)
def test_role_grants_exactly(role: str, granted: dict[str, str]) -> None:
    resources: dict[str, list[str]] = {}
    for statement in statements(role):
        for action in actions(statement):
            resources.setdefault(action, []).append(_named(statement["Resource"]))
    assert {action: " ".join(names) for action, names in resources.items()} == granted


def test_instance_attaches_only_to_itself() -> None:
    """The role may attach the volume only to instances with the group's propagated tag."""
    (own,) = [each for each in statements("InstanceRole") if "instance/*" in str(each["Resource"])]
    ((key, value),) = own["Condition"]["StringEquals"].items()
    tags = {tag["Key"]: tag for tag in RESOURCES["Group"]["Tags"]}
    tag = tags[key.removeprefix("aws:ResourceTag/")]
    assert (tag["Value"], tag["PropagateAtLaunch"]) == (value, True)


def _named(resource: Any) -> str:
    """Return a statement's resource: a logical id, a parameter, or the last part of an ARN."""
    match resource:
        case {"Ref": name} | {"Fn::GetAtt": [name, "Arn"]}:
            return str(name)
        case {"Fn::Sub": text}:
            return str(text).rpartition("${AWS::AccountId}:")[2]
    return str(resource)
