"""Says in plain words what a pydantic model found wrong, without the value, which may be a secret."""

import re
from typing import Final

from pydantic_core import ErrorDetails

_WORDS: Final = {
    "missing": "is missing",
    "extra_forbidden": "is unknown",
    "string_type": "must be a text in quotes",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a table of names and values",
    "model_type": "must be a table of names and values",
    "none_required": "must be null",
    "json_invalid": "is not JSON: {error}",
    "union_tag_not_found": "has no {discriminator}",
    "union_tag_invalid": "has a {discriminator} that is none of {expected_tags}",
    "literal_error": "must be {expected}",
    "value_error": "{error}",
}
_PATTERNS: Final = {
    "^[0-9]{1,20}$": "must be an id: up to 20 digits in quotes",
    r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$": "must be a time like 2026-11-21T07:00:00.123Z",
}
_SHOULD: Final = re.compile(r"^\w+ should\b")


def explain_model_error(error: ErrorDetails) -> str:
    """Return what *error* says; it continues from the name of the value."""
    context = error.get("ctx", {})
    if context.get("pattern") in _PATTERNS:
        return _PATTERNS[context["pattern"]]
    words = _WORDS.get(error["type"])
    # pydantic's own sentences begin with "Input should" or "String should".
    return _SHOULD.sub("must", error["msg"]) if words is None else words.format(**context)
