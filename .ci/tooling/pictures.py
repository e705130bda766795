"""Draws the pictures in README.md from the demo's messages: ``make pictures``.

Each is there twice, for light and dark pages. A test fails if a committed file is out of date.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tooling.message_drawing import DARK, LIGHT, Panel, draw
from tooling.staged_messages import stage_admission

FOLDER: Final = Path(__file__).parents[2] / ".github" / "pictures"

_THEMES: Final = {"light": LIGHT, "dark": DARK}


def draw_all() -> Iterator[tuple[str, str]]:
    """Yield the name of each file, and what belongs in it."""
    admission = stage_admission()
    panels = [
        Panel(admission.open, "while somebody waits"),
        Panel(admission.closed, "the same card, after a press of Admit"),
        Panel(admission.lines, "what happened, and what was missed"),
    ]
    title = "Somebody is admitted from a waiting room"
    for name, theme in _THEMES.items():
        yield f"admission-{name}.svg", draw(panels, theme, admission.world, title=title)


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    for name, text in draw_all():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
