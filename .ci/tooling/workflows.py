"""Builds the deployed workflow definitions from their sources: ``make workflows``.

``workflow/source/NAME.yaml`` becomes ``workflow/NAME.asl.json``:

- ``$include: FILE`` is replaced by that file's mapping; the keys beside it override the file's,
- nested lists of error names are flattened, so that YAML anchors can name groups,
- each ``{% expression %}`` is minified and preceded by the definitions that it uses from
  ``source/shared/*.jsonata`` and ``source/NAME.jsonata``,
- the output is ASCII, because CloudFormation reads other characters back as question marks.
  https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/814
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from jsonata.jsonata import Jsonata

from tooling.jsonata_text import JsonataError, Library, link, parse_library

WORKFLOWS: Final = Path(__file__).parents[2] / "workflow"
_INCLUDE: Final = "$include"
_WIDTH: Final = 110


class SourceError(Exception):
    """A source from which no definition can be built."""


def build(source: Path) -> str:
    """Return the definition built from *source*, a YAML file."""
    try:
        own = yaml.safe_load(source.read_text(encoding="utf-8"))
        whole = _include(own, source.parent, outermost=True)
        library, variables = _read_libraries(source), frozenset(_assigned(whole))
        if twice := sorted(variables & library.keys()):
            raise JsonataError(f"${twice[0]} is assigned and defined in a library: choose another name")
        machine = _fill(whole, library, variables)
    except (OSError, yaml.YAMLError, JsonataError) as error:
        raise SourceError(f"{source}: {error}") from error
    machine["Comment"] += f" Built from workflow/source/{source.name} by make workflows: edit that."
    return render(machine) + "\n"


def _read_libraries(source: Path) -> Library:
    library: dict[str, Any] = {}
    for path in [*sorted((source.parent / "shared").glob("*.jsonata")), source.with_suffix(".jsonata")]:
        if not path.exists():
            continue
        try:
            definitions = parse_library(path.read_text(encoding="utf-8"))
        except JsonataError as error:
            raise JsonataError(f"{path.name}: {error}") from error
        if twice := sorted(definitions.keys() & library.keys()):
            raise JsonataError(f"{path.name}: ${twice[0]} is already defined in another file")
        library |= definitions
    return library


def _include(node: Any, folder: Path, *, outermost: bool = False) -> Any:
    """Return *node* with every included file filled in."""
    if isinstance(node, list):
        return [_include(item, folder) for item in node]
    if not isinstance(node, dict):
        return node
    own = {key: _include(value, folder) for key, value in node.items() if key != _INCLUDE}
    if _INCLUDE not in node:
        return own
    path = folder / node[_INCLUDE]
    included = _include(yaml.safe_load(path.read_text(encoding="utf-8")), path.parent)
    merged = _overlay(included, own)
    return {key: merged[key] for key in [*own, *merged]} if outermost else merged


def _overlay(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    both = {key: _overlay(below[key], above[key]) for key in below.keys() & above.keys()}
    return {key: both.get(key, value) for key, value in {**below, **above}.items()}


def _assigned(node: Any) -> Iterator[str]:
    """Yield the name of every variable that a state assigns."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if key == "Assign":
            yield from value
        elif isinstance(value, dict | list):
            yield from _assigned(value)


def _fill(node: Any, library: Library, variables: frozenset[str]) -> Any:
    """Return *node* with expressions linked and lists of error names flattened."""
    if isinstance(node, dict):
        return {
            key: list(_flatten(value)) if key == "ErrorEquals" else _fill(value, library, variables)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [_fill(item, library, variables) for item in node]
    if isinstance(node, str) and (text := node.strip()).startswith("{%"):
        return f"{{% {_check(link(text.removeprefix('{%').removesuffix('%}'), library, variables))} %}}"
    return node


def _flatten(names: Any) -> Iterator[str]:
    if isinstance(names, list):
        for name in names:
            yield from _flatten(name)
    else:
        yield names


def _check(expression: str) -> str:
    try:
        Jsonata.jsonata(expression)
    except Exception as error:
        raise JsonataError(f"{error} in: {expression}") from error
    return expression


def render(node: Any, indent: str = "") -> str:
    """Return *node* as JSON, with each list and object on one line if it fits."""
    line = json.dumps(node)
    if not isinstance(node, dict | list) or len(indent) + len(line) <= _WIDTH:
        return line
    deeper = indent + "  "
    if isinstance(node, list):
        items, brackets = [render(item, deeper) for item in node], "[]"
    else:
        items = [f"{json.dumps(key)}: {render(value, deeper)}" for key, value in node.items()]
        brackets = "{}"
    lines = f",\n{deeper}".join(items)
    return f"{brackets[0]}\n{deeper}{lines}\n{indent}{brackets[1]}"


def target(source: Path) -> Path:
    """Return the path of the definition built from *source*."""
    return WORKFLOWS / f"{source.stem}.asl.json"


def sources() -> list[Path]:
    return sorted((WORKFLOWS / "source").glob("*.yaml"))


def main() -> int:
    try:
        definitions = {target(source): build(source) for source in sources()}
    except SourceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for path, definition in definitions.items():
        path.write_text(definition, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
