"""``AWS::Budgets::Budget`` for CloudFormation, built on ministack's Budgets API."""

from typing import Any

from infra.local.aws.hooks.responses import read_body
from infra.local.aws.hooks.seam import Seam, module

_BUDGETS = "ministack.services.budgets"
_PROVISIONERS = "ministack.services.cloudformation.provisioners"
SEAMS = (
    Seam(_BUDGETS, "_create_budget", ("data",)),
    Seam(_BUDGETS, "_update_budget", ("data",)),
    Seam(_BUDGETS, "_delete_budget", ("data",)),
    # Reads the table of resource types that this hook extends.
    Seam(_PROVISIONERS, "_provision_resource", ("resource_type", "logical_id", "props", "stack_name")),
    Seam(_PROVISIONERS, "_physical_name", ("stack_name", "logical_id", "lowercase", "max_len", "seeded")),
)

_NOTIFICATIONS = "NotificationsWithSubscribers"


def install() -> None:
    service = module(_BUDGETS)
    provisioners = module(_PROVISIONERS)

    def create(logical_id: str, props: dict[str, Any], stack_name: str) -> tuple[str, dict[str, str]]:
        name = props["Budget"].get("BudgetName") or provisioners._physical_name(stack_name, logical_id)
        read_body(
            service._create_budget(
                {"Budget": _budget(props, name), _NOTIFICATIONS: props.get(_NOTIFICATIONS) or []}
            )
        )
        return name, {}

    def update(
        physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str, logical_id: str
    ) -> tuple[str, dict[str, str]]:
        if _replaced(old) == _replaced(new):
            read_body(service._update_budget({"NewBudget": _budget(new, physical_id)}))
            return physical_id, {}
        # Delete first: budget names are unique.
        delete(physical_id, old)
        return create(logical_id, new, stack_name)

    def delete(physical_id: str, _props: dict[str, Any]) -> None:
        read_body(service._delete_budget({"BudgetName": physical_id}))

    provisioners._RESOURCE_HANDLERS["AWS::Budgets::Budget"] = {
        "create": create,
        "update": update,
        "update_with_logical_id": True,
        "delete": delete,
    }


def _budget(props: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the budget as the API expects it: the amount is a number in templates, a string in the API."""
    budget = {**props["Budget"], "BudgetName": name}
    if limit := budget.get("BudgetLimit"):
        budget["BudgetLimit"] = {**limit, "Amount": str(limit["Amount"])}
    return budget


def _replaced(props: dict[str, Any]) -> tuple[Any, Any]:
    """Return the properties that cannot change without replacement."""
    return props["Budget"].get("BudgetName"), props.get(_NOTIFICATIONS)
