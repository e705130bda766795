"""On which lines the values of a TOML text stand."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from bot.routing.toml_lines import Path, find_lines

ODD = '''\
# [[rule]] in a comment
title = "[[rule]] in a \\"string\\""   # and a comment
"quoted # key" . 'second' = """
[[rule]]
five quotes: \\""" "" """""
after = \'\'\'[[rule]]
\'\'\'\'\'
[[rule]]
channels = [ # [
    "1]",

    '2[',
    [3, 4]
    ,
]
when = 2026-11-21 07:00:00.5
point = { x = 1.5, y.z = "}" }
[rule.inner]
a = 1
[[rule.items]]
[[rule.items]]
b = 1
[[ "rule" ]]
c = 1
[rule.items]
d = 1
'''


def test_ignores_strings_and_comments() -> None:
    tomllib.loads(ODD)
    assert find_lines(ODD) == {
        ("title",): 2,
        ("quoted # key",): 3,
        ("quoted # key", "second"): 3,
        ("after",): 6,
        ("rule",): 8,
        ("rule", 0): 8,
        ("rule", 0, "channels"): 9,
        ("rule", 0, "channels", 0): 10,
        ("rule", 0, "channels", 1): 12,
        ("rule", 0, "channels", 2): 13,
        ("rule", 0, "channels", 2, 0): 13,
        ("rule", 0, "channels", 2, 1): 13,
        ("rule", 0, "when"): 16,
        ("rule", 0, "point"): 17,
        ("rule", 0, "point", "x"): 17,
        ("rule", 0, "point", "y"): 17,
        ("rule", 0, "point", "y", "z"): 17,
        ("rule", 0, "inner"): 18,
        ("rule", 0, "inner", "a"): 19,
        ("rule", 0, "items"): 20,
        ("rule", 0, "items", 0): 20,
        ("rule", 0, "items", 1): 21,
        ("rule", 0, "items", 1, "b"): 22,
        ("rule", 1): 23,
        ("rule", 1, "c"): 24,
        ("rule", 1, "items"): 25,
        ("rule", 1, "items", "d"): 26,
    }


@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize("own", [0, 1, 2])
def test_multiline_string_may_end_in_quotes(quote: str, own: int) -> None:
    text = f"a = {quote * 3}x{quote * own}{quote * 3}\nb = [{quote}]{quote}]\nc = 1\n"
    assert tomllib.loads(text)["a"] == "x" + quote * own
    assert find_lines(text) == {("a",): 1, ("b",): 2, ("b", 0): 2, ("c",): 3}


BLANKS = st.sampled_from(["", " ", "\t  "])
BREAKS = st.sampled_from(["\n", "\r\n", "  # a [[comment]] = \"'''\n", "\n\n#\n"])
TEXTS = st.sampled_from(["", "a", "[[x]]", "# no", "k = 1", "}", "é", '\\"', "''", "]\\\\"])
SCALARS = st.sampled_from(["1", "-1.5e3", "true", "inf", "1979-05-27", "1979-05-27 07:32:00.25Z", "0x0"])
MULTI = st.sampled_from(["", "\n", "\n[[x]]\n", "a\n# b = '\n\n", "x"])


class Writer:
    """Writes TOML in odd ways; each key has the line in its name, each item of an array is that line."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._count = 0
        self.text = ""

    def put(self, *pieces: st.SearchStrategy[str] | str) -> None:
        for piece in pieces:
            self.text += piece if isinstance(piece, str) else self._draw(piece)

    def key(self) -> None:
        """Write a key of one part or of more, which all stand on this line."""
        for place in range(self._draw(st.integers(1, 3))):
            if place:
                self.put(BLANKS, ".", BLANKS)
            self._count += 1
            name = f"{self._draw(st.sampled_from(['k', '1']))}-{self._line()}-{self._count}"
            quote = self._draw(st.sampled_from(["", '"', "'"]))
            odd = self._draw(st.sampled_from(["", ".", "#", "=", "]", " "])) if quote else ""
            self.put(quote, name, odd, quote)

    def value(self, depth: int, *, one_line: bool = False) -> None:
        kinds = ["scalar", "basic", "literal", *["multi"] * (not one_line)]
        kinds += [] if depth == 0 else ["array", "table"]
        match self._draw(st.sampled_from(kinds)):
            case "scalar":
                self.put(SCALARS)
            case "basic":
                self.put('"', TEXTS, '"')
            case "literal":
                self.put("'", TEXTS.filter(lambda text: "'" not in text), "'")
            case "multi":
                self._multi_line_string()
            case "array":
                self._array(depth, one_line=one_line)
            case "table":
                self._inline_table(depth)

    def pairs(self) -> None:
        for _ in range(self._draw(st.integers(0, 3))):
            self.put(BLANKS)
            self.key()
            self.put(BLANKS, "=", BLANKS)
            self.value(2)
            self.put(BREAKS)

    def table(self, name: str) -> None:
        opening, closing = self._draw(st.sampled_from([("[[", "]]"), ("[", "]")]))
        self.put(BLANKS, opening, BLANKS)
        if opening == "[[":
            self.put(name)
        else:
            self.key()
        self.put(BLANKS, closing, BREAKS)
        self.pairs()

    def _line(self) -> int:
        return self.text.count("\n") + 1

    def _multi_line_string(self) -> None:
        quotes = self._draw(st.sampled_from(['"""', "'''"]))
        own = quotes[:1] * self._draw(st.integers(0, 2))
        self.put(quotes, MULTI, quotes[:2], "x", MULTI, own, quotes)

    def _array(self, depth: int, *, one_line: bool) -> None:
        breaks = BLANKS if one_line else BLANKS | BREAKS
        self.put("[", breaks)
        for _ in range(self._draw(st.integers(0, 3))):
            if self._draw(st.booleans()):
                self.put(str(self._line()))
            else:
                self.value(depth - 1, one_line=one_line)
            self.put(breaks, ",", breaks)
        self.put("]")

    def _inline_table(self, depth: int) -> None:
        self.put("{", BLANKS)
        for place in range(self._draw(st.integers(0, 2))):
            if place:
                self.put(",", BLANKS)
            self.key()
            self.put(BLANKS, "=", BLANKS)
            # Within an inline table, only a value that is itself of several lines may break the line.
            self.value(depth - 1, one_line=True)
            self.put(BLANKS)
        self.put("}")


@st.composite
def documents(draw: st.DrawFn) -> str:
    writer = Writer(draw)
    writer.put(BREAKS | BLANKS)
    writer.put("\n")
    writer.pairs()
    for _ in range(draw(st.integers(0, 4))):
        writer.table(draw(st.sampled_from(["rule", '"rule"', "rule.deep", "other"])))
    return writer.text


def paths(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every path below *value*, with what stands there."""
    items = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    for key, item in items:
        yield (*path, key), item
        yield from paths(item, (*path, key))


@given(documents())
def test_every_value_has_its_line(text: str) -> None:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The writer takes no care whether "rule.deep" is an array before "rule" is.
        if "Cannot" not in str(error):
            raise
        reject()
    lines = find_lines(text)
    found = dict(paths(document))
    assert lines.keys() == found.keys()
    for path, value in found.items():
        if match := re.match(r"[k1]-(\d+)-", str(path[-1])):
            assert lines[path] == int(match[1])
        elif isinstance(path[-1], int) and type(value) is int and value > 1:
            assert lines[path] == value
