"""The service's template: one task at most, confined, with data that outlives it, and least roles."""

import json
from typing import Any

import pytest

from bot.settings.settings import Settings
from bot.settings.sources import PREFIX
from infra.deploy.engine import TEMPLATE as RELAY_TEMPLATE
from tooling.template_yaml import load_template

TEMPLATE = load_template(RELAY_TEMPLATE.with_name("service.yaml").read_text())
RELAY = load_template(RELAY_TEMPLATE.read_text())
RESOURCES: dict[str, Any] = {name: value["Properties"] for name, value in TEMPLATE["Resources"].items()}
(CONTAINER,) = RESOURCES["TaskDefinition"]["ContainerDefinitions"]
INSTANCE = RESOURCES["LaunchTemplate"]["LaunchTemplateData"]


def found(node: Any, key: str) -> list[Any]:
    """Every value that stands under *key*, however deep."""
    if isinstance(node, list):
        return [value for item in node for value in found(item, key)]
    if not isinstance(node, dict):
        return []
    own = [node[key]] if key in node else []
    return own + [value for item in node.values() for value in found(item, key)]


def statements(role: str) -> list[dict[str, Any]]:
    """What the role's own policies say, whatever condition it is said under."""
    return [
        statement.get("Fn::If", [None, statement])[1]
        for policy in RESOURCES[role]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def actions(statement: dict[str, Any]) -> set[str]:
    named = statement["Action"]
    return {named} if isinstance(named, str) else set(named)


@pytest.mark.parametrize("section", ["Parameters", "Outputs"])
def test_describes_each(section: str) -> None:
    for name, declared in TEMPLATE[section].items():
        assert declared["Description"].endswith((".", ")", ":")), name


def test_groups_every_parameter_and_exports_every_output() -> None:
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(TEMPLATE["Parameters"])
    for name, output in TEMPLATE["Outputs"].items():
        assert output["Export"]["Name"] == {"Fn::Sub": f"${{AWS::StackName}}-{name}"}


def test_imports_what_the_relay_exports() -> None:
    imported = {
        value["Fn::Sub"].removeprefix("${RelayStack}-") for value in found(RESOURCES, "Fn::ImportValue")
    }
    assert imported == {"ApiEndpoint", "BotPolicyArn"}
    assert imported <= RELAY["Outputs"].keys()


def test_every_exception_from_a_scan_says_why() -> None:
    for skip in found(TEMPLATE["Resources"], "skip"):
        assert all(len(entry["comment"]) > 30 for entry in skip)


def test_never_runs_two_tasks() -> None:
    service, group = RESOURCES["Service"], RESOURCES["Group"]
    deployment = service["DeploymentConfiguration"]
    assert (service["DesiredCount"], deployment["MaximumPercent"]) == (1, 100)
    assert deployment["MinimumHealthyPercent"] == 0
    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    # Rebalancing would start a second one in another zone first.
    assert service["AvailabilityZoneRebalancing"] == "DISABLED"
    assert (group["MinSize"], group["MaxSize"]) == ("1", "1")
    assert group["InstanceMaintenancePolicy"] == {"MinHealthyPercentage": 0, "MaxHealthyPercentage": 100}
    update = TEMPLATE["Resources"]["Group"]["UpdatePolicy"]["AutoScalingRollingUpdate"]
    assert (update["MinInstancesInService"], update["WaitOnResourceSignals"]) == (0, True)


def test_the_container_can_do_no_more_than_it_has_to() -> None:
    assert CONTAINER["User"] == "10001:10001"
    assert CONTAINER["ReadonlyRootFilesystem"] is True
    assert CONTAINER["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    (scratch,) = CONTAINER["LinuxParameters"]["Tmpfs"]
    assert (scratch["ContainerPath"], "noexec" in scratch["MountOptions"]) == ("/tmp", True)
    assert not {"Privileged", "PortMappings", "DockerSecurityOptions"} & CONTAINER.keys()
    assert RESOURCES["Service"]["EnableExecuteCommand"] is False


def test_the_container_gets_settings_that_there_are() -> None:
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


def test_health_is_asked_for_as_the_image_does() -> None:
    dockerfile = (RELAY_TEMPLATE.parents[1] / "Dockerfile").read_text()
    kind, *command = CONTAINER["HealthCheck"]["Command"]
    assert (kind, command) == (
        "CMD",
        json.loads(dockerfile[dockerfile.index('CMD ["python"') :][4:].split("\n")[0]),
    )


def test_a_log_that_takes_nothing_does_not_hold_up_the_bot() -> None:
    options = CONTAINER["LogConfiguration"]["Options"]
    assert (options["mode"], options["awslogs-group"]) == ("non-blocking", {"Ref": "Log"})
    assert RESOURCES["Log"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_lets_nothing_in_and_nothing_out_but_https() -> None:
    group = RESOURCES["SecurityGroup"]
    assert "SecurityGroupIngress" not in group
    (egress,) = group["SecurityGroupEgress"]
    assert (egress["IpProtocol"], egress["FromPort"], egress["ToPort"]) == ("tcp", 443, 443)


def test_the_container_cannot_have_the_instances_credentials() -> None:
    assert INSTANCE["MetadataOptions"] == {
        "HttpEndpoint": "enabled",
        "HttpTokens": "required",
        "HttpPutResponseHopLimit": 1,
    }
    assert RESOURCES["TaskDefinition"]["NetworkMode"] == "bridge"


def test_the_data_outlives_task_instance_and_stack() -> None:
    volume = TEMPLATE["Resources"]["Data"]
    assert (volume["DeletionPolicy"], volume["UpdateReplacePolicy"]) == ("Snapshot", "Snapshot")
    assert volume["Properties"]["Encrypted"] is True
    (data,) = RESOURCES["TaskDefinition"]["Volumes"]
    assert data["Host"]["SourcePath"] == "/srv/voice-relay/data"
    assert CONTAINER["MountPoints"] == [{"SourceVolume": "data", "ContainerPath": "/data", "ReadOnly": False}]


def test_the_task_has_the_bots_policy_and_nothing_else() -> None:
    role = RESOURCES["TaskRole"]
    assert role["ManagedPolicyArns"] == [{"Fn::ImportValue": {"Fn::Sub": "${RelayStack}-BotPolicyArn"}}]
    assert "Policies" not in role


def test_every_role_is_under_the_boundary() -> None:
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
def test_a_role_grants_this_and_nothing_more(role: str, granted: dict[str, str]) -> None:
    resources: dict[str, list[str]] = {}
    for statement in statements(role):
        for action in actions(statement):
            resources.setdefault(action, []).append(_named(statement["Resource"]))
    assert {action: " ".join(names) for action, names in resources.items()} == granted


def test_an_instance_takes_the_volume_for_itself_alone() -> None:
    (own,) = [each for each in statements("InstanceRole") if "instance/*" in str(each["Resource"])]
    ((key, value),) = own["Condition"]["StringEquals"].items()
    tags = {tag["Key"]: tag for tag in RESOURCES["Group"]["Tags"]}
    tag = tags[key.removeprefix("aws:ResourceTag/")]
    assert (tag["Value"], tag["PropagateAtLaunch"]) == (value, True)


def _named(resource: Any) -> str:
    """What a statement is about: a logical id or a parameter, or the last part of an ARN."""
    match resource:
        case {"Ref": name} | {"Fn::GetAtt": [name, "Arn"]}:
            return str(name)
        case {"Fn::Sub": text}:
            return str(text).rpartition("${AWS::AccountId}:")[2]
    return str(resource)
