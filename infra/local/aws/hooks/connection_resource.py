"""``AWS::Events::Connection`` for CloudFormation, built on the connections of EventBridge."""

# https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-events-connection.html

import time
from typing import Any

from infra.local.aws.hooks.connections import EVENTS
from infra.local.aws.hooks.responses import read_body
from infra.local.aws.hooks.seam import Seam, module

_PROVISIONERS = "ministack.services.cloudformation.provisioners"
SEAMS = (
    # Reads the table of resource types that this hook extends.
    Seam(_PROVISIONERS, "_provision_resource", ("resource_type", "logical_id", "props", "stack_name")),
    Seam(_PROVISIONERS, "_physical_name", ("stack_name", "logical_id", "lowercase", "max_len", "seeded")),
)

_REQUEST = ("Description", "AuthorizationType", "AuthParameters")
_STABILISED_S = 10.0
_POLL_S = 0.02


def install() -> None:
    events = module(EVENTS)
    provisioners = module(_PROVISIONERS)

    def create(logical_id: str, props: dict[str, Any], stack_name: str) -> tuple[str, dict[str, str]]:
        name = props.get("Name") or provisioners._physical_name(stack_name, logical_id)
        read_body(events._create_connection(_request(name, props)))
        return name, _authorised(name)

    def update(
        physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str, logical_id: str
    ) -> tuple[str, dict[str, str]]:
        if old.get("Name") != new.get("Name"):
            made = create(logical_id, new, stack_name)
            delete(physical_id, old)
            return made
        read_body(events._update_connection(_request(physical_id, new)))
        return physical_id, _authorised(physical_id)

    def delete(physical_id: str, _props: dict[str, Any]) -> None:
        if physical_id in events._connections:
            read_body(events._delete_connection({"Name": physical_id}))

    def _authorised(name: str) -> dict[str, str]:
        """Wait as CloudFormation does, and return the attributes; raises ValueError if authorising fails."""
        connection = events._connections[name]
        deadline = time.monotonic() + _STABILISED_S
        while connection["ConnectionState"] != "AUTHORIZED":
            if connection["ConnectionState"] == "DEAUTHORIZED" or time.monotonic() > deadline:
                reason = connection.get("StateReason", "")
                raise ValueError(f"connection {name} is {connection['ConnectionState']}: {reason}")
            time.sleep(_POLL_S)
        arn = connection["ConnectionArn"]
        return {
            "Arn": arn,
            "ArnForPolicy": arn.rpartition("/")[0] + "/*",
            "SecretArn": connection["SecretArn"],
        }

    provisioners._RESOURCE_HANDLERS["AWS::Events::Connection"] = {
        "create": create,
        "update": update,
        "update_with_logical_id": True,
        "delete": delete,
    }


def _request(name: str, props: dict[str, Any]) -> dict[str, Any]:
    return {"Name": name, **{key: props[key] for key in _REQUEST if key in props}}
