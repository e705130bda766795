"""Expressions keep their meaning when they lose their comments and get what they use of a library."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonata.jsonata import Jsonata
from jsonata.tokenizer import Tokenizer

from tooling.jsonata_text import FUNCTIONS, JsonataError, link, minify, parse_library, tokenize
from tooling.workflows import WORKFLOWS, sources

# Tokens that run into their neighbours. A slash can begin a pattern, so it is left to the examples below.
_SAMPLES = (
    "$x", "$", "$$", "and", "or", "in", "name", "`odd /* name`", "1", "2.5", "1e3", "'a  /* no comment */ b'",
    '"it\'s // \\" \\\\"', "'\\n'", ":", ":=", "=", "!=", "<", ">=", "*", "**", ".", "..", "?", "?:", "??",
    "-", "+", "%", "&", "~>", "(", ")", "[", "]", "{", "}", ",", ";", "|", "^", "@", "#", "function",
)  # fmt: skip


def _expressions(node: Any) -> Iterator[str]:
    if isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from _expressions(value)
    elif isinstance(node, str) and node.startswith("{%"):
        yield node[2:-2].strip()


def _read_as_jsonata(text: str) -> list[Any]:
    """The tokens as the JSONata engine reads them, patterns by their source."""
    reader, tokens, ends_value = Tokenizer(text), list[Any](), False
    while (token := reader.next(ends_value)) is not None:
        value = text[: token.position].rsplit("/", 2)[1] if token.type == "regex" else token.value
        tokens.append((token.type, value))
        ends_value = token.type != "operator" or token.value in (")", "]", "}")
    return tokens


LIBRARIES = sorted((WORKFLOWS / "source").rglob("*.jsonata"))


@pytest.mark.parametrize("path", LIBRARIES, ids=lambda path: path.stem)
def test_minified_sources_keep_their_tokens(path: Any) -> None:
    text = path.read_text(encoding="utf-8")
    short = minify(tokenize(text))

    assert _read_as_jsonata(short) == _read_as_jsonata(text)
    assert len(short) < len(text)


@given(tokens=st.lists(st.sampled_from(_SAMPLES), max_size=12))
def test_minified_tokens_stay_apart(tokens: list[str]) -> None:
    """Whatever stands side by side, and with the engine as the judge."""
    assert _read_as_jsonata(minify(tokens)) == _read_as_jsonata(" ".join(tokens))


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("1 /* a /* b */ + 2", "1+2"),
        ("'a  b' & \"c  /* d */\"", "'a  b'&\"c  /* d */\""),
        ("'it\\'s  ' & x", "'it\\'s  '&x"),
        ("$contains( $s , /a  [/] b\\/c/i ) ? 1", "$contains($s,/a  [/] b\\/c/i)?1"),
        ("$a / $b / $c", "$a/$b/$c"),
        ("($a) / 2 / 3", "($a)/2/3"),
        ("$a in /x/ in $b", "$a in/x/ in $b"),
        ("a and 'b' or $c", "a and 'b' or $c"),
        ("$x ? : 1", "$x? :1"),
        ("$a / /* half */ 2", "$a/2"),
        ("$a * * 2", "$a* *2"),
        ("1 . 1", "1 .1"),
    ],
)
def test_minify(text: str, short: str) -> None:
    assert minify(tokenize(text)) == short


@pytest.mark.parametrize("text", ["'open", "1 /* open", "a \\ b"])
def test_tokenize_refuses_broken_text(text: str) -> None:
    with pytest.raises(JsonataError, match="line 1: cannot read"):
        tokenize(text)


LIBRARY = """
/* Twice as much; and what is unused. */
$unused := 'x';
$two := 2;
$double := function($n) { $n * $two };
$fours := function($n) {( $half := $double($n); $half * 2 )};
"""


def test_link_adds_what_is_used() -> None:
    """Indirectly too, in an order that can be evaluated, each once."""
    linked = link("$fours(3) + $double($two)", parse_library(LIBRARY))

    assert Jsonata.jsonata(linked).evaluate(None) == 16
    assert linked.count("$two:=") == linked.count("$double:=") == 1
    assert "unused" not in linked
    assert "/*" not in linked


def test_link_adds_nothing_unused() -> None:
    assert link("$states.input . x", parse_library(LIBRARY)) == "$states.input.x"


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("$doubel(3)", "\\$doubel is not defined"),
        ("$map([1], function($two) { $two })", "\\$two is already defined in the library"),
        ("($double := 1; $double)", "\\$double is already defined in the library"),
    ],
)
def test_link_refuses(expression: str, problem: str) -> None:
    """A slip that JSONata would take for nothing at all."""
    with pytest.raises(JsonataError, match=problem):
        link(expression, parse_library(LIBRARY))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("$a := 1", "no ; after"),
        ("1 + 1;", "expected \\$name := value"),
        ("$a := 1; $a := 2;", "\\$a is defined already"),
        ("$sum := 1;", "\\$sum is defined already"),
    ],
)
def test_parse_library_refuses(text: str, problem: str) -> None:
    with pytest.raises(JsonataError, match=problem):
        parse_library(text)


def test_known_functions_exist() -> None:
    """Of those that are AWS's own, the embedded AWS has the ones that the workflows use."""
    frame = Jsonata.jsonata("1").environment
    known = {name for name in FUNCTIONS if frame.lookup(name) is not None}

    assert FUNCTIONS - known <= {"partition", "range", "hash", "uuid", "parse"}


def test_shuffled_library_links_the_same() -> None:
    """The order of definitions in a file is for its readers."""
    expression = next(_expressions(json.loads((WORKFLOWS / "notify.asl.json").read_text())))
    definitions = parse_library("".join(path.read_text(encoding="utf-8") for path in LIBRARIES[1:2]))
    shuffled = dict(random.Random(7).sample(list(definitions.items()), len(definitions)))

    assert sources()
    assert link(expression, definitions) == link(expression, shuffled)
