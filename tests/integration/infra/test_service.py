"""The bot's service beside a relay: create, change and delete it, keep its data and use its roles.

The embedded AWS starts no instance or container; tests/unit/infra and tests/container cover those.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import botocore.exceptions
import pytest

from infra.deploy.aws_errors import DeployError
from infra.deploy.destroy import destroy
from infra.deploy.engine import DeployOptions, deploy_template
from infra.deploy.stack_kinds import STACK_KINDS
from infra.local.aws import EmbeddedAws
from infra.local.aws.credentials import Credentials
from tests.integration.infra.inventory import Kinds, take_inventory
from tests.integration.infra.relay import POLL_S, Relay, unique

TEMPLATE = STACK_KINDS["service"].template
OPTIONS = DeployOptions(poll_s=POLL_S)


@dataclass(frozen=True)
class Service:
    """A service's stack and its parameters."""

    relay: Relay
    stack_name: str
    given: dict[str, str]

    @property
    def aws(self) -> EmbeddedAws:
        return self.relay.aws

    def deploy(self, **changed: str) -> dict[str, str]:
        return deploy_template(
            self.aws.client,
            TEMPLATE,
            stack_name=self.stack_name,
            parameters=self.given | changed,
            options=OPTIONS,
        )

    def destroy(self) -> None:
        destroy(self.aws.client, stack_name=self.stack_name, has_secret=False, poll_s=POLL_S)

    def resource(self, logical_id: str) -> str:
        """Return the physical id of a resource of the stack."""
        detail = self.aws.client("cloudformation").describe_stack_resource(
            StackName=self.stack_name, LogicalResourceId=logical_id
        )
        return str(detail["StackResourceDetail"]["PhysicalResourceId"])

    def task(self) -> Any:
        """Return the service's current task definition."""
        ecs = self.aws.client("ecs")
        (service,) = ecs.describe_services(cluster=self.stack_name, services=[self.resource("Service")])[
            "services"
        ]
        return ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]

    def role(self, logical_id: str) -> Credentials:
        """Return temporary credentials of one of the roles, by letting root assume it."""
        iam, name = self.aws.client("iam"), self.resource(logical_id)
        root = {"AWS": f"arn:aws:iam::{self.aws.account_id}:root"}
        trust = {"Effect": "Allow", "Principal": root, "Action": "sts:AssumeRole"}
        iam.update_assume_role_policy(
            RoleName=name, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        )
        arn = iam.get_role(RoleName=name)["Role"]["Arn"]
        made = self.aws.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        return Credentials(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])


def _new_service(relay: Relay) -> Service:
    """Prepare a service, not deployed yet, with the resources that it needs in the account."""
    aws, name = relay.aws, unique("service")
    subnet = aws.client("ec2").describe_subnets()["Subnets"][0]
    secret = aws.client("secretsmanager").create_secret(Name=f"{name}/token", SecretString="no-token")
    # AWS publishes this parameter in every account; the embedded AWS has none.
    image = f"/{name}/image"
    aws.client("ssm").put_parameter(Name=image, Value="ami-0123456789abcdef0", Type="String")
    return Service(
        relay,
        name,
        {
            "RelayStack": relay.stack_name,
            "VpcId": subnet["VpcId"],
            "SubnetId": subnet["SubnetId"],
            "AvailabilityZone": subnet["AvailabilityZone"],
            "ImageTag": "v1",
            "TokenSecretArn": secret["ARN"],
            "ArmMachineImage": image,
            "X86MachineImage": image,
        },
    )


@pytest.fixture(scope="module")
def service(relay: Relay) -> Iterator[Service]:
    service = _new_service(relay)
    service.deploy()
    yield service
    service.destroy()


def _refused(call: Any, **given: Any) -> bool:
    try:
        call(**given)
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"] in {
            "AccessDenied",
            "AccessDeniedException",
            "UnauthorizedOperation",
        }
    return False


def test_container_gets_image_and_endpoint(service: Service) -> None:
    (container,) = service.task()["containerDefinitions"]
    environment = {entry["name"]: entry["value"] for entry in container["environment"]}

    assert environment["VOICE_RELAY_API_ENDPOINT"] == service.relay.outputs["ApiEndpoint"]
    assert "VOICE_RELAY_DISCORD_TOKEN" not in environment
    assert container["image"].endswith(".dkr.ecr.us-east-1.amazonaws.com/voice-relay:v1")


def test_repeated_deployment_changes_nothing(service: Service) -> None:
    before = service.task()["revision"]

    assert service.deploy()["DataVolumeId"] == service.resource("Data")
    assert service.task()["revision"] == before


def test_task_role_may_only_start_workflows(service: Service) -> None:
    who, relay = service.role("TaskRole"), service.relay

    assert relay.start(unique("service"), who=who).status == 200
    assert relay.stop(relay.execution_arn("any"), who=who).status == 403
    secrets = service.aws.client("secretsmanager", who)
    assert _refused(secrets.get_secret_value, SecretId=service.given["TokenSecretArn"])


def test_execution_role_reads_only_token(service: Service) -> None:
    secrets = service.aws.client("secretsmanager", service.role("ExecutionRole"))

    read = secrets.get_secret_value(SecretId=service.given["TokenSecretArn"])

    assert read["SecretString"] == "no-token"
    assert _refused(secrets.get_secret_value, SecretId=f"{service.relay.stack_name}/webhooks")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"AvailabilityZone": "us-east-1f"}, "AvailabilityZone must be the zone of SubnetId"),
        ({"VpcId": "vpc-0fffffff"}, "SubnetId must be a subnet of VpcId"),
    ],
)
def test_refuses_mismatched_network_first(service: Service, changed: dict[str, str], sentence: str) -> None:
    """A zone or VPC that does not match the subnet is refused before anything changes."""
    before = service.resource("Data")

    with pytest.raises(DeployError, match=sentence):
        service.deploy(**changed)

    assert service.resource("Data") == before


_KINDS: Kinds = {
    "clusters": ("ecs", "list_clusters", "clusterArns", None),
    "groups": ("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups", "AutoScalingGroupName"),
    "launch templates": ("ec2", "describe_launch_templates", "LaunchTemplates", "LaunchTemplateId"),
    "volumes": ("ec2", "describe_volumes", "Volumes", "VolumeId"),
    "security groups": ("ec2", "describe_security_groups", "SecurityGroups", "GroupId"),
    "roles": ("iam", "list_roles", "Roles", "RoleName"),
    "instance profiles": ("iam", "list_instance_profiles", "InstanceProfiles", "InstanceProfileName"),
    "logs": ("logs", "describe_log_groups", "logGroups", "logGroupName"),
    "exports": ("cloudformation", "list_exports", "Exports", "Name"),
}


def _snapshots(aws: EmbeddedAws, volume: str) -> list[str]:
    found = aws.client("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"]
    return [snapshot["SnapshotId"] for snapshot in found if snapshot["VolumeId"] == volume]


def test_data_survives_changes(relay: Relay) -> None:
    """A new version or size keeps the volume, a snapshot replaces it, and deletion leaves a snapshot."""
    before, service = take_inventory(relay.aws, _KINDS), _new_service(relay)
    ec2 = relay.aws.client("ec2")

    first = service.deploy()["DataVolumeId"]
    assert service.deploy(ImageTag="v2", DataGiB="8")["DataVolumeId"] == first
    assert service.task()["containerDefinitions"][0]["image"].endswith(":v2")
    (volume,) = ec2.describe_volumes(VolumeIds=[first])["Volumes"]
    assert (volume["Size"], volume["Encrypted"]) == (8, True)
    assert {"Key": "voice-relay-stack", "Value": service.stack_name} in volume["Tags"]

    taken = ec2.create_snapshot(VolumeId=first)["SnapshotId"]
    second = service.deploy(ImageTag="v2", DataGiB="8", DataSnapshotId=taken)["DataVolumeId"]
    assert second != first

    service.destroy()
    assert len(_snapshots(relay.aws, second)) == 1
    assert take_inventory(relay.aws, _KINDS) == before
