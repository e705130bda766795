"""JSONata source text: splits it into tokens, minifies it, and links it with a library.

Step Functions evaluates each expression in an environment of its own, so each must contain the functions that
it uses. :func:`link` prepends only the definitions that an expression uses.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

# https://docs.jsonata.org/overview, without $eval, which Step Functions does not have
_JSONATA_FUNCTIONS: Final = """
    string length substring substringBefore substringAfter uppercase lowercase trim pad contains split join
    match replace base64encode base64decode encodeUrlComponent encodeUrl decodeUrlComponent decodeUrl
    number abs floor ceil round power sqrt formatNumber formatBase formatInteger parseInteger
    sum max min average boolean not exists count append sort reverse shuffle distinct zip
    keys lookup spread merge sift each error assert type now millis fromMillis toMillis
    map filter single reduce
"""
# https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html
_AWS_FUNCTIONS: Final = "partition range hash random uuid parse"
FUNCTIONS: Final = frozenset(_JSONATA_FUNCTIONS.split() + _AWS_FUNCTIONS.split())
_GIVEN: Final = FUNCTIONS | {"", "$", "states"}

_TOKEN: Final = re.compile(
    r"""(?P<blank>\s+|/\*.*?\*/)
    |(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
    |(?P<number>\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)
    |(?P<word>\$?[^\W\d]\w*|\$\$?)
    |(?P<operator>:=|!=|<=|>=|\*\*|~>|\?:|\?\?|\.\.|/(?!\*)|[-.\[\]{}(),@\#;:?+*%|=<>^&!])""",
    re.DOTALL | re.VERBOSE,
)
_REGEX: Final = re.compile(r"/(?:\\.|\[(?:\\.|[^\]\\])*\]|[^/\\\[])+/[im]*")
_OPERATORS: Final = frozenset("-.[]{}(),@#;:?+*/%|=<>^&!~")
# Pairs of characters that form one token.
_PAIRS: Final = frozenset({":=", "!=", "<=", ">=", "**", "~>", "?:", "??", "..", "/*", "//"})
_WORD_OPERATORS: Final = frozenset({"and", "or", "in"})


class JsonataError(ValueError):
    """A text that is not JSONata, or not the part of it that these tools read."""


def tokenize(text: str) -> list[str]:
    """Return the tokens of *text*, strings and regular expressions whole, without comments and blanks."""
    tokens: list[str] = []
    at = 0
    while at < len(text):
        # A slash where a value can begin starts a regular expression.
        pattern = (
            _REGEX if text[at] == "/" and text[at : at + 2] != "/*" and not _ends_value(tokens) else _TOKEN
        )
        match = pattern.match(text, at)
        if match is None:
            raise JsonataError(f"line {text.count(chr(10), 0, at) + 1}: cannot read {text[at : at + 20]!r}")
        at = match.end()
        if pattern is _REGEX or match["blank"] is None:
            tokens.append(match.group())
    return tokens


def _ends_value(tokens: list[str]) -> bool:
    if not tokens:
        return False
    last = tokens[-1]
    return last[-1] in ")]}" or not (last[0] in _OPERATORS or last in _WORD_OPERATORS)


def minify(tokens: Iterable[str]) -> str:
    """Return the shortest text with these tokens."""
    text, last = "", ""
    for each in tokens:
        text += f" {each}" if last and _must_part(last, each) else each
        last = each
    return text


def _must_part(before: str, after: str) -> bool:
    if before[0].isdigit() and after == ".":
        # Otherwise it would be a decimal point.
        return True
    # A word directly after a regular expression would be read as its flags.
    if after[0] in _OPERATORS or (before[-1] in _OPERATORS and len(before) < 3):
        return before[-1] + after[0] in _PAIRS
    return True


@dataclass(frozen=True)
class Definition:
    """``$name := value;`` of a library, as text; *uses* are the names that it does not bind itself."""

    text: str
    uses: frozenset[str]
    binds: frozenset[str]


Library = Mapping[str, Definition]


def parse_library(text: str) -> dict[str, Definition]:
    """Return the definitions in *text*, each of the form ``$name := value;``, by name."""
    library: dict[str, Definition] = {}
    for statement in _split_statements(tokenize(text)):
        if len(statement) < 3 or not statement[0].startswith("$") or statement[1] != ":=":
            raise JsonataError(f"expected $name := value; found {minify(statement[:6])}")
        name = statement[0][1:]
        if name in library or name in _GIVEN:
            raise JsonataError(f"${name} is defined already")
        binds = frozenset(_bound(statement[2:]))
        library[name] = Definition(minify(statement), _used(statement[2:]) - binds, binds)
    return library


def _split_statements(tokens: Iterable[str]) -> Iterator[list[str]]:
    depth, statement = 0, list[str]()
    for each in tokens:
        depth += (each in ("(", "[", "{")) - (each in (")", "]", "}"))
        if each == ";" and depth == 0:
            yield statement
            statement = []
        else:
            statement.append(each)
    if statement:
        raise JsonataError(f"no ; after {minify(statement[:6])}")


def link(expression: str, library: Library, variables: frozenset[str] = frozenset()) -> str:
    """Return *expression* without comments, after the definitions that it uses, directly or not.

    *variables* are the names that the state machine assigns. Raises JsonataError if a name is undefined, or
    if the expression binds a name of the library or of a variable.
    """
    tokens = tokenize(expression)
    binds = frozenset(_bound(tokens))
    needed: dict[str, str] = {}
    given = _GIVEN | variables

    def collect(uses: Iterable[str], binds: frozenset[str]) -> None:
        if twice := sorted(binds & (library.keys() | variables)):
            where = "library" if twice[0] in library else "state machine"
            raise JsonataError(f"${twice[0]} is already defined in the {where}: choose another name")
        for name in sorted(uses):
            if name in needed or name in given:
                continue
            if name not in library:
                raise JsonataError(f"${name} is not defined")
            definition = library[name]
            collect(definition.uses - {name}, definition.binds)
            needed[name] = definition.text

    collect(_used(tokens) - binds, binds)
    body = minify(tokens)
    return f"({';'.join([*needed.values(), body])})" if needed else body


def _used(tokens: Iterable[str]) -> frozenset[str]:
    return frozenset(each[1:] for each in tokens if each[0] == "$")


def _bound(tokens: list[str]) -> Iterator[str]:
    """Yield each name that the tokens bind: a variable or a function's parameter."""
    parameters = False
    for each, following in zip(tokens, [*tokens[1:], ""], strict=True):
        if each in ("function", ")"):
            parameters = each == "function"
        elif each[0] == "$" and (parameters or following == ":="):
            yield each[1:]
