"""The table of what was expected and what was seen, in Markdown, so that it can be pasted into a report."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from bot.text import escape, shorten
from infra.verify.check import Row, Verdict

_HEAD: Final = ("check", "expected", "seen", "result")
_SEEN_MAX_CHARS: Final = 300


def render_table(rows: Sequence[Row]) -> list[str]:
    cells = [_HEAD, *(_render_row(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEAD))]
    head, *body = (_render_line(row, widths) for row in cells)
    return [head, _render_line(["-" * width for width in widths], widths), *body]


def render_summary(rows: Sequence[Row]) -> Iterator[str]:
    """Say how many checks ended how, and where AWS documents what differs."""
    counts = Counter(row.verdict for row in rows)
    yield ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict)
    for row in rows:
        if row.verdict is Verdict.DIFFERS and row.check.source:
            yield f"{row.check.name}: expected because of {row.check.source}"


def _render_row(row: Row) -> tuple[str, ...]:
    seen = escape(shorten(row.seen, _SEEN_MAX_CHARS))
    if row.verdict is Verdict.SKIPPED:
        return row.check.name, row.check.expected, "", f"{row.verdict} ({seen})"
    return row.check.name, row.check.expected, seen, row.verdict


def _render_line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.replace("|", "/").ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"
