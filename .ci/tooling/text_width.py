"""How wide a text is and where it breaks, for drawings whose reader's font is unknown.

The widths are those of common sans-serif letters. A drawing holds every run of text to the measured width
(``textLength``), so what stands beside and behind it fits in any font.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

from infra.local.discord import Span

# Thousandths of the font's size.
_WIDTHS: Final = {
    char: width
    for width, chars in {
        210: "'ijl|",
        278: " !,./:;I[\\]ft",
        333: "()-`r{}",
        390: '"*^°·',
        500: "Jckvsxyz",
        556: "#$0123456789?L_abdeghnopqu",
        590: "+<=>~",
        620: "FTZ",
        670: "&ABEKPSVXY",
        720: "CDHNRUw",
        778: "GOQ",
        850: "%Mm",
        1000: "@W…",
    }.items()
    for char in chars
}
_OTHER: Final = 600
_WIDE: Final = 1250
_BOLD: Final = 1.06
_CODE: Final = 600
_BREAK: Final = Span("\n")
_PIECE: Final = re.compile(r"\n|[^ \n]* +|[^ \n]+")
# They change the look of the character before them, and take no room.
_COMBINING: Final = frozenset({"\ufe0f", "\u200d"})


def measure(text: str, size: float, *, bold: bool = False, code: bool = False) -> float:
    """Return the width of *text* in a font of *size*."""
    total = sum(_CODE if code else _width_of(char) for char in text)
    return round(total * size / 1000 * (_BOLD if bold else 1), 1)


def is_pictograph(char: str) -> bool:
    """Tell whether *char* is an emoji, which has no fixed proportion to letters."""
    return char in _COMBINING or unicodedata.category(char) == "So"


def measure_span(span: Span, size: float) -> float:
    return measure(span.text, size, bold="**" in span.marks, code=span.kind == "code")


def wrap(spans: Iterable[Span], room: float, size: float) -> Iterator[list[Span]]:
    """Yield the lines of *spans*, none wider than *room*, spaces at their ends aside.

    It breaks at line breaks and spaces, never in a time, and within a word that is wider than *room*.
    """
    line: list[Span] = []
    for word in _words(spans):
        if word == [_BREAK]:
            yield line
            line = []
        elif _ink([*line, *word], size) <= room:
            line += word
        else:
            if line:
                yield line
            *full, line = _cut(word, room, size)
            yield from full
    yield line


def _words(spans: Iterable[Span]) -> Iterator[list[Span]]:
    """Yield what stays together: pieces up to a space, which is at the end of the last; or a line break."""
    word: list[Span] = []
    for span in spans:
        for piece in [span.text] if span.kind == "time" else _PIECE.findall(span.text):
            if piece == "\n":
                yield from ([word] if word else [])
                yield [_BREAK]
                word = []
                continue
            word.append(span._replace(text=piece))
            if piece.endswith(" "):
                yield word
                word = []
    if word:
        yield word


def _cut(word: list[Span], room: float, size: float) -> Iterator[list[Span]]:
    """Yield *word* in lines that have room; at least one."""
    line: list[Span] = []
    for char in (span._replace(text=char) for span in word for char in span.text):
        if line and _ink([*line, char], size) > room:
            yield line
            line = []
        line.append(char)
    yield line


def _ink(line: list[Span], size: float) -> float:
    """Return the width of *line* without the spaces at its end."""
    *before, last = line
    return sum(measure_span(span, size) for span in (*before, last._replace(text=last.text.rstrip(" "))))


def _width_of(char: str) -> int:
    if char in _COMBINING or unicodedata.combining(char):
        return 0
    known = _WIDTHS.get(char)
    if known is not None:
        return known
    return _WIDE if is_pictograph(char) or unicodedata.east_asian_width(char) in "WF" else _OTHER
