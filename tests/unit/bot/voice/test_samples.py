"""The examples of events, and the schemas that are published."""

import re
from typing import Any, get_args

import pydantic
import pytest

from bot.voice.events import EVENT, VoiceEventType, json_schema
from bot.voice.samples import KINDS, PREFIX, build_sample


def test_every_type_has_a_sample() -> None:
    assert {PREFIX + kind for kind in KINDS} == {*get_args(VoiceEventType), "discord.voice.gap"}


@pytest.mark.parametrize("kind", KINDS)
def test_sample_fits_schema(kind: str) -> None:
    sample: Any = build_sample(kind)

    assert EVENT.validate_python(sample)["type"] == PREFIX + kind
    assert violations(sample, json_schema(PREFIX + kind)) == []
    assert violations(sample, json_schema()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_schema_refuses_other_kinds(kind: str) -> None:
    other: Any = build_sample(next(each for each in KINDS if each != kind))

    assert violations(other, json_schema(PREFIX + kind))


@pytest.mark.parametrize("change", [{"id": 5}, {"time": "now"}, {"extra": 1}, {"data": {}}])
def test_schema_refuses_wrong_values(change: dict[str, Any]) -> None:
    wrong: Any = {**build_sample("joined"), **change}

    assert violations(wrong, json_schema(PREFIX + "joined"))
    with pytest.raises(pydantic.ValidationError):
        EVENT.validate_python(wrong)


def violations(value: Any, schema: Any, root: Any = None) -> list[str]:
    """Check *value* as JSON Schema says, for the keywords that pydantic writes; an unknown one fails."""
    root = root or schema
    found: list[str] = []
    for keyword, wanted in schema.items():
        if keyword in ("required", "properties", "additionalProperties") and not isinstance(value, dict):
            continue
        match keyword:
            case "$ref":
                found += violations(value, root["$defs"][wanted.rpartition("/")[2]], root)
            case "oneOf" | "anyOf":
                fits = [not violations(value, each, root) for each in wanted].count(True)
                found += [] if fits == 1 or (fits and keyword == "anyOf") else [f"{fits} of {keyword}"]
            case "const":
                found += [] if value == wanted else [f"{value!r} is not {wanted!r}"]
            case "enum":
                found += [] if value in wanted else [f"{value!r} is not one of {wanted}"]
            case "pattern":
                found += (
                    [] if isinstance(value, str) and re.search(wanted, value) else [f"{value!r}: {wanted}"]
                )
            case "type":
                found += [] if _has_type(value, wanted) else [f"{value!r} is no {wanted}"]
            case "required":
                found += [f"no {name}" for name in wanted if name not in value]
            case "properties":
                found += [
                    each
                    for name, inner in wanted.items()
                    if name in value
                    for each in violations(value[name], inner, root)
                ]
            case "additionalProperties":
                assert wanted is False
                found += [f"extra {name}" for name in value.keys() - schema["properties"].keys()]
            case "$defs" | "title" | "description" | "discriminator":
                pass
            case _:
                raise AssertionError(f"the keyword {keyword} is not known here")
    return found


def _has_type(value: Any, name: str) -> bool:
    if name in ("integer", "number"):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, {"object": dict, "string": str, "boolean": bool, "null": type(None)}[name])
