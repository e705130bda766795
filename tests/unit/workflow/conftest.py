"""notify.asl.json, and JSONata as Step Functions evaluates it."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonata.jsonata import Jsonata

Evaluate = Callable[..., Any]

_DEFINITION = Path(__file__).parents[3] / "workflow" / "notify.asl.json"


@pytest.fixture(scope="session")
def text() -> str:
    return _DEFINITION.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def states(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)["States"]
    return found


@functools.cache
def _compile(expression: str) -> Any:
    return Jsonata.jsonata(expression)


def _fill(template: Any, bound: dict[str, Any]) -> Any:
    if isinstance(template, dict):
        return {key: _fill(value, bound) for key, value in template.items()}
    if isinstance(template, list):
        return [_fill(value, bound) for value in template]
    if isinstance(template, str) and template.startswith("{%"):
        assert template.endswith("%}")
        value = _compile(template[2:-2].strip()).evaluate(None, {"states": bound})
        # Step Functions fails where an expression has no result; none here means to give null.
        assert value is not None, template
        return value
    return template


@pytest.fixture(scope="session")
def evaluate() -> Evaluate:
    """Fill a field of a state, as the state itself would; the keywords are what ``$states`` has."""

    def evaluated(
        template: Any,
        *,
        execution: Any = None,
        started: str = "2026-11-21T07:00:00.000Z",
        **bound: Any,
    ) -> Any:
        context = {"Execution": {"Input": execution, "StartTime": started}}
        return _fill(template, {"context": context, **bound})

    return evaluated


@pytest.fixture(scope="session")
def message(states: dict[str, Any], evaluate: Evaluate) -> Callable[[list[Any]], dict[str, Any]]:
    """The body of the webhook request for a batch of events."""

    def built(events: list[Any]) -> dict[str, Any]:
        execution = {"id": "01JD", "destination": "default", "events": events}
        body: dict[str, Any] = evaluate(
            states["Post"]["Arguments"]["RequestBody"], execution=execution, input=execution
        )
        return body

    return built


@pytest.fixture(scope="session")
def lines(message: Callable[[list[Any]], dict[str, Any]]) -> Callable[..., list[str]]:
    """The lines that a batch of events is shown as."""

    def shown(*events: Any) -> list[str]:
        embeds = message(list(events))["embeds"]
        return [line for embed in embeds for line in embed["description"].split("\n")]

    return shown
