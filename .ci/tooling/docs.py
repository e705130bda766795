"""Regenerates the tables in infra/README.md from the templates and the prices: ``make docs``.

Each is between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``. A test fails if one is out of date.
"""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from tooling import costs
from tooling.template_yaml import load_template

INFRA: Final = Path(__file__).parents[2] / "infra"
README: Final = INFRA / "README.md"

_PLACE: Final = re.compile(
    r"(?P<begin><!-- begin (?P<name>[^>]+) -->\n).*?(?P<end><!-- end (?P=name) -->)", re.DOTALL
)


def render_parameters(template: dict[str, Any]) -> Iterator[str]:
    """Yield a Markdown table of the template's parameters."""
    yield "| parameter | default | meaning |"
    yield "|---|---|---|"
    for name, declared in template["Parameters"].items():
        default = f"`{declared['Default']}`" if declared.get("Default", "") != "" else ""
        shown = default or ("empty" if "Default" in declared else "required")
        yield f"| `{name}` | {shown} | {declared['Description'].strip().replace('|', chr(92) + '|')} |"


def _tables() -> dict[str, Callable[[], Iterator[str]]]:
    def read(path: Path) -> dict[str, Any]:
        return load_template(path.read_text(encoding="utf-8"))

    def parameters(path: Path) -> Callable[[], Iterator[str]]:
        return lambda: render_parameters(read(path))

    return {
        **{f"parameters of {path.name}": parameters(path) for path in sorted(INFRA.glob("*.yaml"))},
        "costs": lambda: costs.render(read(INFRA / "monitoring.yaml")["Resources"]),
    }


def fill(text: str) -> str:
    """Return *text* with every table in its place; raises LookupError if a table has no place."""
    tables = _tables()
    filled: set[str] = set()

    def put(match: re.Match[str]) -> str:
        filled.add(match["name"])
        return match["begin"] + "".join(f"{line}\n" for line in tables[match["name"]]()) + match["end"]

    filled_text = _PLACE.sub(put, text)
    if missing := tables.keys() - filled:
        raise LookupError(f"no place for: {', '.join(sorted(missing))}")
    return filled_text


def main() -> int:
    README.write_text(fill(README.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
