"""``AWS::CloudWatch::CompositeAlarm`` for CloudFormation, with its action suppressor.

ministack's CloudWatch evaluates composite alarms but has no suppressor. This one suppresses actions as AWS
does, but immediately: the wait and extension periods take no time.
"""

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Create_Composite_Alarm_Suppression.html

from typing import Any

from infra.local.aws.hooks.responses import read_body
from infra.local.aws.hooks.seam import Seam, module

_CLOUDWATCH = "ministack.services.cloudwatch"
_PROVISIONERS = "ministack.services.cloudformation.provisioners"
_DISPATCH = Seam(_CLOUDWATCH, "_dispatch_alarm_actions", ("alarm", "old_state", "new_state", "reason"))
SEAMS = (
    _DISPATCH,
    Seam(_CLOUDWATCH, "_put_composite_alarm", ("params", "cbor_data", "is_cbor", "is_json")),
    Seam(_CLOUDWATCH, "_delete_alarms", ("params", "cbor_data", "is_cbor", "is_json")),
    Seam(_CLOUDWATCH, "_rule_ref_name", ("ref",)),
    Seam(_CLOUDWATCH, "_rule_alarm_state", ("ref",)),
    # Reads the table of resource types that this hook extends.
    Seam(_PROVISIONERS, "_provision_resource", ("resource_type", "logical_id", "props", "stack_name")),
    Seam(_PROVISIONERS, "_physical_name", ("stack_name", "logical_id", "lowercase", "max_len", "seeded")),
)

_SUPPRESSION = ("ActionsSuppressor", "ActionsSuppressorWaitPeriod", "ActionsSuppressorExtensionPeriod")


def install() -> None:
    _install_suppressor()
    _install_resource_type()


def _install_suppressor() -> None:
    cloudwatch = module(_CLOUDWATCH)
    dispatch = _DISPATCH.original()

    def dispatch_unless_suppressed(alarm: Any, old_state: str, new_state: str, reason: str) -> None:
        suppressor = alarm.get("ActionsSuppressor")
        if suppressor and cloudwatch._rule_alarm_state(suppressor) == "ALARM":
            alarm["ActionsSuppressedBy"] = "Alarm"
        else:
            alarm.pop("ActionsSuppressedBy", None)
            dispatch(alarm, old_state, new_state, reason)
        if old_state == "ALARM":
            release(alarm["AlarmName"])

    def release(suppressor: str) -> None:
        """Run the suppressed actions of composites still in alarm; those that recovered stay silent."""
        for held in list(cloudwatch._composite_alarms.values()):
            if cloudwatch._rule_ref_name(held.get("ActionsSuppressor") or "") != suppressor:
                continue
            if held.pop("ActionsSuppressedBy", None) and held["StateValue"] == "ALARM":
                dispatch(held, "OK", "ALARM", held["StateReason"])

    _DISPATCH.replace(dispatch_unless_suppressed)


def _install_resource_type() -> None:
    cloudwatch = module(_CLOUDWATCH)
    provisioners = module(_PROVISIONERS)

    def put(name: str, props: dict[str, Any]) -> tuple[str, dict[str, str]]:
        read_body(cloudwatch._put_composite_alarm({}, {**props, "AlarmName": name}, False, is_json=True))
        alarm = cloudwatch._composite_alarms[name]
        alarm.update({key: props[key] for key in _SUPPRESSION if key in props})
        return name, {"Arn": alarm["AlarmArn"]}

    def create(logical_id: str, props: dict[str, Any], stack_name: str) -> tuple[str, dict[str, str]]:
        return put(props.get("AlarmName") or provisioners._physical_name(stack_name, logical_id), props)

    def update(
        physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str, logical_id: str
    ) -> tuple[str, dict[str, str]]:
        if old.get("AlarmName") == new.get("AlarmName"):
            return put(physical_id, new)
        made = create(logical_id, new, stack_name)
        delete(physical_id, old)
        return made

    def delete(physical_id: str, _props: dict[str, Any]) -> None:
        read_body(cloudwatch._delete_alarms({}, {"AlarmNames": [physical_id]}, False, is_json=True))

    provisioners._RESOURCE_HANDLERS["AWS::CloudWatch::CompositeAlarm"] = {
        "create": create,
        "update": update,
        "update_with_logical_id": True,
        "delete": delete,
    }
