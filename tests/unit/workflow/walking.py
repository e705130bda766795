"""Walks a built definition from state to state, with answers that a test gives for its tasks."""

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonata.jsonata import Jsonata
from jsonata.utils import Utils

_FOLDER = Path(__file__).parents[3] / "workflow"
_STEPS = 100

EXECUTION = "01JD0000000000000000000000"


def read_definition(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_FOLDER / f"{name}.asl.json").read_text(encoding="utf-8"))
    return found


class TaskError(Exception):
    """An error with which a task fails, by its name."""

    def __init__(self, error: str, cause: str = "why") -> None:
        super().__init__(error)
        self.error = error
        self.cause = cause


Answer = Any
"""What a task results in, or the TaskError with which it fails."""


@dataclass
class Walked:
    """The states that were entered, what each task was given, and what came out at the end."""

    states: list[str] = field(default_factory=list)
    tasks: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    timeouts: list[tuple[str, float]] = field(default_factory=list)
    output: Any = None

    def given(self, state: str) -> dict[str, Any]:
        """What the task was given, which must have been entered once."""
        (arguments,) = self.all_given(state)
        return arguments

    def all_given(self, state: str) -> list[dict[str, Any]]:
        return [arguments for name, arguments in self.tasks if name == state]


class Walker:
    """Walks *definition*; *answers* has for each task's state what it answers, one after the other.

    *now_ms* is the clock of its expressions, which goes on by the seconds that an answer names.
    """

    def __init__(self, definition: dict[str, Any], *, now_ms: int = 1_795_244_400_000) -> None:
        self._definition = definition
        self._now_ms = now_ms
        self._variables: dict[str, Any] = {}

    def walk(self, execution_input: Any, answers: Mapping[str, Sequence[Answer]]) -> Walked:
        """Return what happened; raises the TaskError that no state caught."""
        self._variables = {}
        walked = Walked()
        waiting: dict[str, Iterator[Answer]] = {state: iter(each) for state, each in answers.items()}
        name: str | None = self._definition["StartAt"]
        value = execution_input
        context: dict[str, Any] = {
            "Execution": {
                "Input": execution_input,
                "Name": EXECUTION,
                "StartTime": "2026-11-21T07:00:00.000Z",
            },
            "Task": {"Token": "a-token"},
        }
        while name is not None:
            assert len(walked.states) < _STEPS, walked.states
            walked.states.append(name)
            state = self._definition["States"][name]
            bound = {"input": value, "context": context}
            value, name = getattr(self, f"_{state['Type'].lower()}")(name, state, bound, walked, waiting)
        assert all(next(left, None) is None for left in waiting.values()), "an answer was not asked for"
        walked.output = value
        return walked

    def _task(
        self, name: str, state: Any, bound: Any, walked: Walked, waiting: dict[str, Iterator[Answer]]
    ) -> Any:
        arguments = self._fill(state["Arguments"], bound)
        walked.tasks.append((name, arguments))
        walked.timeouts.append((name, self._fill(state["TimeoutSeconds"], bound)))
        answer = next(waiting.get(name, iter(())))
        if isinstance(answer, Later):
            self._now_ms += int(answer.seconds * 1000)
            answer = answer.answer
        if isinstance(answer, TaskError):
            return self._catch(state, bound, answer)
        return self._leave(state, bound | {"result": answer}, answer)

    def _catch(self, state: Any, bound: Any, error: TaskError) -> Any:
        for catcher in state.get("Catch", ()):
            if error.error in catcher["ErrorEquals"] or "States.ALL" in catcher["ErrorEquals"]:
                caught = {"Error": error.error, "Cause": error.cause}
                return self._leave(catcher, bound | {"errorOutput": caught}, caught)
        raise error

    def _choice(self, name: str, state: Any, bound: Any, *_: Any) -> Any:
        for rule in state["Choices"]:
            condition = self._fill(rule["Condition"], bound)
            assert isinstance(condition, bool), f"{name}: AWS takes no {condition!r} for a condition"
            if condition:
                return self._leave(rule, bound, bound["input"])
        return self._leave(state | {"Next": state["Default"]}, bound, bound["input"])

    def _pass(self, _name: str, state: Any, bound: Any, *_: Any) -> Any:
        return self._leave(state, bound, bound["input"])

    def _fail(self, _name: str, state: Any, bound: Any, *_: Any) -> Any:
        raise TaskError(state["Error"], self._fill(state["Cause"], bound))

    def _wait(self, _name: str, state: Any, bound: Any, *_: Any) -> Any:
        seconds = self._fill(state["Seconds"], bound)
        assert seconds >= 0
        assert int(seconds) == seconds
        self._now_ms += seconds * 1000
        return self._leave(state, bound, bound["input"])

    def _leave(self, node: Any, bound: Any, default: Any) -> Any:
        """Return the output and the next state; assigned variables are seen from there on."""
        output = self._fill(node["Output"], bound) if "Output" in node else default
        assigned = {key: self._fill(value, bound) for key, value in node.get("Assign", {}).items()}
        self._variables |= assigned
        return output, node.get("Next")

    def _fill(self, template: Any, bound: Any) -> Any:
        if isinstance(template, dict):
            return {key: self._fill(value, bound) for key, value in template.items()}
        if isinstance(template, list):
            return [self._fill(value, bound) for value in template]
        if isinstance(template, str) and template.startswith("{%"):
            return self._evaluate(template[2:-2].strip(), bound)
        return template

    def _evaluate(self, expression: str, bound: Any) -> Any:
        names = self._variables | {"states": bound}
        found = {key: Utils.NULL_VALUE if value is None else value for key, value in names.items()}
        value = self._compute(expression, found)
        # Step Functions fails where an expression has no result, which is not the same as null.
        assert value is not None or self._compute(f"$exists(({expression}))", found), (
            f"no result: {expression}"
        )
        return value

    def _compute(self, expression: str, bound: dict[str, Any]) -> Any:
        parsed = _parse(expression)
        parsed.register_lambda("millis", lambda: self._now_ms)
        parsed.register_lambda("parse", json.loads)
        return parsed.evaluate(None, bound)


_parse = functools.cache(Jsonata.jsonata)


@dataclass(frozen=True)
class Later:
    """An *answer* that takes some *seconds*."""

    seconds: float
    answer: Answer
