"""How IAM decides on a request, for the operators that the templates use.

An explicit denial wins, then an allowance, else the answer is no.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

# What a request says, by condition key. A key that is missing is not in the request.
Context = Mapping[str, str | list[str]]


def is_allowed(
    statements: Iterable[dict[str, Any]], action: str, resource: str, context: Context | None = None
) -> bool:
    """Decide on a request by resolved statements, whose references are filled in."""
    effects = {
        each["Effect"]
        for each in statements
        if _is_about(each, action, resource, {} if context is None else context)
    }
    return "Allow" in effects and "Deny" not in effects


def _is_about(statement: dict[str, Any], action: str, resource: str, context: Context) -> bool:
    return (
        any(_is_like(action.lower(), pattern.lower()) for pattern in _listed(statement["Action"]))
        and any(_is_like(resource, pattern) for pattern in _listed(statement["Resource"]))
        and all(
            _OPERATORS[operator](_listed(context.get(key, [])), _listed(wanted))
            for operator, conditions in statement.get("Condition", {}).items()
            for key, wanted in conditions.items()
        )
    )


def _is_like(value: str, pattern: str) -> bool:
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, value) is not None


def _any_like(values: list[str], patterns: list[str]) -> bool:
    return any(_is_like(value, pattern) for value in values for pattern in patterns)


# An operator that is missing here fails the test that needs it.
_OPERATORS: dict[str, Callable[[list[str], list[str]], bool]] = {
    "ArnLike": _any_like,
    "ForAnyValue:StringLike": _any_like,
    "Null": lambda values, wanted: (not values) is (wanted == ["true"]),
    "StringEquals": lambda values, wanted: any(value in wanted for value in values),
}


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]
