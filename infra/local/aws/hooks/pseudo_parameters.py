"""Lets conditions refer to the region, the account and the partition.

To ministack, these names are words like any other there.
"""

from typing import Any

from infra.local.aws.hooks.seam import Seam

_PACKAGE = "ministack.services.cloudformation"
_RESPONSES = "ministack.core.responses"
_REGION, _ACCOUNT = Seam(_RESPONSES, "get_region", ()), Seam(_RESPONSES, "get_account_id", ())
# Each of these modules imports the function by its name.
_EVALUATE = tuple(
    Seam(f"{_PACKAGE}.{name}", "_evaluate_conditions", ("template", "params"))
    for name in ("engine", "changesets", "handlers", "stacks")
)
SEAMS = (_REGION, _ACCOUNT, *_EVALUATE)


def install() -> None:
    evaluate = _EVALUATE[0].original()
    region, account_id = _REGION.original(), _ACCOUNT.original()

    def evaluate_with_pseudo_parameters(template: dict[str, Any], params: dict[str, Any]) -> Any:
        known = {
            "AWS::AccountId": account_id(),
            "AWS::Partition": "aws",
            "AWS::Region": region(),
        }
        return evaluate(template, {name: {"Value": value} for name, value in known.items()} | params)

    for seam in _EVALUATE:
        seam.replace(evaluate_with_pseudo_parameters)
