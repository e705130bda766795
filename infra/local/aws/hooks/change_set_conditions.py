"""Makes change sets notice resources that appear or disappear with their Condition.

ministack compares only the resources' properties, so a parameter that only a Condition uses would change
nothing.
"""

from typing import Any

from infra.local.aws.hooks.seam import Seam

_CHANGESETS = "ministack.services.cloudformation.changesets"
_RESOLVE = Seam(_CHANGESETS, "_resolve_props_for_diff", ("template", "params", "stack_name", "stack_id"))
_EVALUATE = Seam("ministack.services.cloudformation.engine", "_evaluate_conditions", ("template", "params"))
SEAMS = (_RESOLVE, _EVALUATE)


def install() -> None:
    resolve, evaluate = _RESOLVE.original(), _EVALUATE.original()

    def resolve_existing(
        template: dict[str, Any], params: dict[str, Any], stack_name: str, stack_id: str
    ) -> Any:
        resolved = resolve(template, params, stack_name, stack_id)
        if not resolved:
            return resolved
        conditions = evaluate(template, params)
        existing = {
            logical_id: resource
            for logical_id, resource in resolved["Resources"].items()
            if conditions.get(resource.get("Condition"), True)
        }
        return resolved | {"Resources": existing}

    _RESOLVE.replace(resolve_existing)
