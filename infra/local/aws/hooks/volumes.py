"""``AWS::EC2::Volume`` for CloudFormation, built on ministack's EC2 API."""

import re
from typing import Any

from infra.local.aws.hooks.responses import read_body
from infra.local.aws.hooks.seam import Seam, module

_EC2 = "ministack.services.ec2"
_PROVISIONERS = "ministack.services.cloudformation.provisioners"
SEAMS = (
    Seam(_EC2, "_create_volume", ("p",)),
    Seam(_EC2, "_modify_volume", ("p",)),
    Seam(_EC2, "_create_tags", ("p",)),
    Seam(_EC2, "_create_snapshot", ("p",)),
    Seam(_EC2, "_delete_volume", ("p",)),
    # Reads the table of resource types that this hook extends.
    Seam(_PROVISIONERS, "_provision_resource", ("resource_type", "logical_id", "props", "stack_name")),
)

_ID = re.compile(r"<volumeId>([^<]+)</volumeId>")
# Properties that change in place; a change to any other replaces the volume.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ec2-volume.html
_MODIFIED = ("Size", "VolumeType", "Iops", "Throughput")


def install() -> None:
    ec2 = module(_EC2)

    def create(_logical_id: str, props: dict[str, Any], _stack_name: str) -> tuple[str, dict[str, str]]:
        asked = {name: _text(value) for name, value in props.items() if name != "Tags"}
        (volume_id,) = _ID.findall(read_body(ec2._create_volume(asked)))
        tags = {"ResourceId.1": volume_id}
        for number, tag in enumerate(props.get("Tags") or (), start=1):
            tags |= {f"Tag.{number}.Key": tag["Key"], f"Tag.{number}.Value": tag["Value"]}
        read_body(ec2._create_tags(tags))
        return volume_id, {"VolumeId": volume_id}

    def update(
        physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str, logical_id: str
    ) -> tuple[str, dict[str, str]]:
        if any(old.get(name) != new.get(name) for name in {*old, *new} - {*_MODIFIED, "Tags"}):
            return create(logical_id, new, stack_name)
        changed = {name: _text(new[name]) for name in _MODIFIED if name in new}
        read_body(ec2._modify_volume(changed | {"VolumeId": physical_id}))
        return physical_id, {"VolumeId": physical_id}

    def take_snapshot(physical_id: str, _props: dict[str, Any]) -> None:
        read_body(ec2._create_snapshot({"VolumeId": physical_id}))

    def delete(physical_id: str, _props: dict[str, Any]) -> None:
        read_body(ec2._delete_volume({"VolumeId": physical_id}))

    module(_PROVISIONERS)._RESOURCE_HANDLERS["AWS::EC2::Volume"] = {
        "create": create,
        "update": update,
        "update_with_logical_id": True,
        "snapshot": take_snapshot,
        "delete": delete,
    }


def _text(value: Any) -> str:
    """Format a value for the query protocol."""
    return str(value).lower() if isinstance(value, bool) else str(value)
