"""What a rule hands to its workflow: whether it can be sent, and whether that workflow takes it.

The registry names a model for each workflow that takes parameters, and the signals that it waits for. A
workflow that is not in the registry is the stack's own, and takes any.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import orjson
import pydantic
from pydantic_core import ErrorDetails

from bot.model_errors import explain_model_error
from bot.routing.rules import PARAMETERS_MAX_BYTES
from bot.text import list_words
from workflow.parameters import Parameters
from workflow.registry import WORKFLOWS, Workflow

KEY: Final = "parameters"
_DEPTH_MAX: Final = 10
_NUMBER_MAX: Final = 2**53 - 1
"""Workflows compute with doubles, which hold no larger whole number exactly."""


class Problem(NamedTuple):
    """What is wrong at *place*, a path in the rule. No text repeats a value, which may be a secret."""

    place: tuple[str | int, ...]
    text: str


def check_parameters(value: object) -> Iterator[Problem]:
    """Yield why *value* cannot be sent as parameters; each text continues from their name."""
    if not isinstance(value, dict):
        yield Problem((), "must be a table: write them below [rule.parameters]")
        return
    found = list(_find_unsendable((), value))
    yield from found
    if not found and (size := len(orjson.dumps(value))) > PARAMETERS_MAX_BYTES:
        yield Problem((), f"take {size} bytes as JSON: at most {PARAMETERS_MAX_BYTES} fit")


def _find_unsendable(place: tuple[str | int, ...], value: object) -> Iterator[Problem]:
    """Yield each part of *value* that has no counterpart in JSON, or that a workflow would read otherwise."""
    name = _name(place)
    if isinstance(value, dict | list):
        if len(place) >= _DEPTH_MAX:
            yield Problem(place, f"are nested too deep: at most {_DEPTH_MAX} levels are sent")
            return
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _find_unsendable((*place, key), inner)
    elif isinstance(value, int | float):
        if not -_NUMBER_MAX <= value <= _NUMBER_MAX:
            yield Problem(place, f"hold too large a number in {name}: write it in quotes")
    elif not isinstance(value, str):
        yield Problem(place, f"hold a date or time in {name}: write it in quotes")


def find_unfit(workflow: str, values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what *workflow* does not take of a rule's *values*; a stack's own takes anything."""
    known = WORKFLOWS.get(workflow)
    if known is None or not known.routable:
        return
    if "signal" in values:
        if values["signal"] not in known.signals:
            yield Problem(("signal",), _explain_signal(known))
    elif known.parameters is not None:
        yield from _find_wrong(workflow, known.parameters, values.get(KEY, {}))
    elif values.get(KEY):
        yield Problem((KEY,), f"{workflow} takes no parameters: remove [rule.parameters]")


def _find_wrong(workflow: str, model: type[Parameters], given: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        model.model_validate(given)
    except pydantic.ValidationError as error:
        missing = []
        for each in error.errors(include_input=False, include_url=False):
            if each["type"] == "missing" and len(each["loc"]) == 1:
                missing.append(str(each["loc"][0]))
            else:
                yield _explain(workflow, model, each)
        if missing:
            yield Problem((KEY,), f"{workflow} needs {list_words(missing)} in [rule.parameters]")


def _explain_signal(workflow: Workflow) -> str:
    if not workflow.signals:
        return f"executions of {workflow.name} wait for no signal: remove the rule, or name another workflow"
    return f"executions of {workflow.name} wait for no such signal: they take {list_words(workflow.signals)}"


def _explain(workflow: str, model: type[Parameters], error: ErrorDetails) -> Problem:
    place = KEY, *error["loc"]
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        name, fields = str(error["loc"][0]), list(model.model_fields)
        near = difflib.get_close_matches(name, fields, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"it takes {list_words(fields)}"
        return Problem(place, f"{workflow} has no parameter {_show(name)}: {remedy}")
    return Problem(place, f"{_name(place)} {explain_model_error(error)}")


def _name(place: tuple[str | int, ...]) -> str:
    """Return what messages call the value at *place*: its keys, without the numbers of a list."""
    return ".".join(_show(part) for part in place if isinstance(part, str))


def _show(key: str) -> str:
    return (
        key if key.isascii() and key.replace("_", "").replace("-", "").isalnum() and len(key) <= 40 else "…"
    )
