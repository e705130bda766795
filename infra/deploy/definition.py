"""A workflow's definition: read from a file and checked before anything is deployed.

Pure but for ``read_definition``. Step Functions itself checks the rest when the state machine is made.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bot.errors import SettingsError
from infra.deploy.grants import KNOWN, find_needed
from workflow.registry import WORKFLOWS

_PLACEHOLDER: Final = re.compile(r"\$\{(\w+)\}")
# As rules and settings take it.
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
# https://docs.aws.amazon.com/step-functions/latest/dg/workflow-states.html
_TYPES: Final = ("Task", "Choice", "Wait", "Parallel", "Map", "Pass", "Succeed", "Fail")
_WITHOUT_NEXT: Final = frozenset({"Choice", "Succeed", "Fail"})
_LANGUAGES: Final = ("JSONata", "JSONPath")


@dataclass(frozen=True)
class Definition:
    """A sound definition; ``tasks`` are its Task states by name, those in branches and items included."""

    name: str
    text: str
    placeholders: frozenset[str]
    tasks: Mapping[str, Any]

    @property
    def needs(self) -> frozenset[str]:
        """The options of the grants that it needs."""
        return find_needed(self.placeholders)


def workflow_name(path: Path) -> str:
    """Return the name of the workflow in the file *path*: ``NAME.asl.json`` or ``NAME.json``."""
    return path.name.partition(".")[0]


def read_definition(
    path: Path, *, name: str | None = None, values: Mapping[str, str] | None = None
) -> Definition:
    """Read the definition in *path*; raises SettingsError with every problem."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError([f"{path} cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError:
        raise SettingsError([f"{path} is not text in UTF-8: save it as UTF-8"]) from None
    return parse_definition(text, where=str(path), name=name or workflow_name(path), values=values or {})


def parse_definition(text: str, *, where: str, name: str, values: Mapping[str, str]) -> Definition:
    """Check the definition *text* and fill *values* in for the placeholders that they name.

    *where* begins each problem of the SettingsError.
    """
    problems = [*_name_problems(name)]
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise SettingsError([*problems, f"{where} is not JSON: {error}"]) from None
    problems += [f"{where}: {problem}" for problem in _shape_problems(parsed)]
    used = set(_PLACEHOLDER.findall(text))
    problems += [f"{where}: {problem}" for problem in _placeholder_problems(used, values)]
    if problems:
        raise SettingsError(problems)
    return Definition(
        name=name,
        text=_PLACEHOLDER.sub(lambda match: _filled(match, values), text),
        placeholders=frozenset(used - values.keys()),
        tasks=dict(_find_tasks(parsed)),
    )


def _name_problems(name: str) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield f"{name!r} is not a workflow's name: 1 to 64 letters, digits, - and _; give one with --name"
    known = WORKFLOWS.get(name)
    if known is not None and not known.own_stack:
        yield f"the relay's stack has a workflow {name} already: give another name with --name"


def _shape_problems(definition: Any) -> Iterator[str]:
    if not isinstance(definition, dict):
        yield "a definition is an object with StartAt and States"
        return
    if definition.get("QueryLanguage") not in _LANGUAGES:
        yield 'QueryLanguage is missing: add "QueryLanguage": "JSONata" (or "JSONPath") at the top'
    yield from _scope_problems(definition, "the definition")


def _scope_problems(scope: dict[str, Any], what: str) -> Iterator[str]:
    """Yield what is wrong with StartAt, States and the transitions of *scope*, and of those inside it."""
    states = scope.get("States")
    if not isinstance(states, dict) or not states:
        yield f"{what} has no States"
        return
    if scope.get("StartAt") not in states:
        yield f"{what} starts at {_shown(scope.get('StartAt'))}, which is not one of its States"
    for name, state in states.items():
        if not isinstance(state, dict) or state.get("Type") not in _TYPES:
            yield f"the state {name} is not an object with a Type, one of {', '.join(_TYPES)}"
            continue
        if state["Type"] not in _WITHOUT_NEXT and not (state.keys() & {"Next", "End"}):
            yield f'the state {name} leads nowhere: give it a Next, or "End": true'
        for target in _targets(state):
            if target not in states:
                near = _near(target, states)
                yield f"the state {name} leads to {_shown(target)}, which is not beside it{near}"
        inner = (*_listed(state.get("Branches")), state.get("ItemProcessor"), state.get("Iterator"))
        for each in inner:
            if isinstance(each, dict):
                yield from _scope_problems(each, f"a part of the state {name}")


def _targets(state: dict[str, Any]) -> Iterator[Any]:
    """Yield where *state* can lead to."""
    for key in ("Next", "Default"):
        if key in state:
            yield state[key]
    for rule in (*_listed(state.get("Catch")), *_listed(state.get("Choices"))):
        if isinstance(rule, dict) and "Next" in rule:
            yield rule["Next"]


def _placeholder_problems(used: set[str], values: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(values.keys() & KNOWN):
        yield f"--set {name}=… has no effect: the stack fills ${{{name}}} in"
    for name in sorted(values.keys() - KNOWN - used):
        yield f"--set {name}=… has no effect: the definition has no ${{{name}}}{_near(name, used - KNOWN)}"
    for name in sorted(used - KNOWN - values.keys()):
        yield f"${{{name}}} is not known{_near(name, KNOWN)}: set it with --set {name}=…"


def _find_tasks(node: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, list):
        for item in node:
            yield from _find_tasks(item, name)
    elif isinstance(node, dict):
        if node.get("Type") == "Task":
            yield name, node
        for key, value in node.items():
            yield from _find_tasks(value, key)


def _filled(match: re.Match[str], values: Mapping[str, str]) -> str:
    # A placeholder is within a JSON string.
    return json.dumps(values[match[1]])[1:-1] if match[1] in values else match[0]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value)


def _near(name: Any, known: Any) -> str:
    near = difflib.get_close_matches(str(name), sorted(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""
