"""Text for people: tables, times and sizes in words, and nothing that controls a terminal."""

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from bot.clock import format_ms

_SPANS: Final = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))
_NO_TIME: Final = (ValueError, OverflowError, OSError)
"""What a number raises that is no time of the years 1 to 9999."""
_SIZES: Final = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


def render_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, indent: str = "") -> Iterator[str]:
    """Align *rows* below *head*; no cell is cut."""
    cells = [tuple(map(escape, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    for row in (head, *cells):
        yield (indent + "  ".join(map(str.ljust, row, widths))).rstrip()


def render_facts(facts: Sequence[tuple[str, str]], *, indent: str = "", width: int = 0) -> Iterator[str]:
    """Write each fact after its name, in columns; names are padded to *width*, or to the longest."""
    width = max((len(name) for name, _ in facts), default=0) if width == 0 else width
    for name, fact in facts:
        yield f"{indent}{name:{width}}  {escape(fact)}"


def render_time(ms: int) -> str:
    """Return the local time with its offset: ``2026-11-21 08:00:00.123+01:00``; any number may come."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).astimezone().isoformat(" ", "milliseconds")
    except _NO_TIME:
        return f"impossible time {ms}"


def time_for_machine(ms: int) -> str | None:
    """Return the time in UTC, as RFC 3339; ``None`` for a number that is no time."""
    try:
        return format_ms(ms)
    except _NO_TIME:
        return None


def render_span(ms: int) -> str:
    """Return a length of time in whole units of the largest that fits."""
    for unit, seconds in _SPANS:
        if ms >= seconds * 1000:
            return count(ms // (seconds * 1000), unit)
    return "less than a second"


def render_moment(ms: int, now_ms: int) -> str:
    """Return the time, and how long ago it was or how far off it is."""
    span = render_span(abs(now_ms - ms))
    return f"{render_time(ms)}, {f'{span} ago' if ms <= now_ms else f'in {span}'}"


def render_bytes(size: int) -> str:
    for unit, unit_bytes in _SIZES:
        if size >= unit_bytes:
            return f"{size / unit_bytes:.1f} {unit}"
    return count(size, "byte")


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def escape(text: str) -> str:
    """Return *text* with every unprintable character escaped as in JSON.

    These are control characters, invisible ones, and those that reverse the direction of text.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def shorten(text: str, max_chars: int) -> str:
    """Return *text*, or its beginning with an ellipsis."""
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"


def fit(text: str, encoding: str) -> str:
    """Return *text* if *encoding* can express it, otherwise with all but ASCII escaped as in JSON."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(each if each.isascii() else json.dumps(each)[1:-1] for each in text)
    return text


def list_words(words: Iterable[str]) -> str:
    """Return *words*, of which there is one at least, as an enumeration."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def render_json(value: Any) -> list[str]:
    """Return the lines of *value* as indented JSON that is safe to show on a terminal."""
    lines = json.dumps(value, ensure_ascii=False, indent=2).split("\n")
    return list(map(escape, lines))


def render_for_machine(value: Any) -> list[str]:
    """Return the lines of *value* as JSON in ASCII, for programs to read."""
    return json.dumps(value, indent=2).split("\n")


def join_blocks(*blocks: Sequence[str]) -> list[str]:
    """Join blocks of lines with an empty line between them; empty blocks are left out."""
    parts = [block for block in blocks if block]
    return list(itertools.chain.from_iterable([*parts[:1], *(["", *block] for block in parts[1:])]))
