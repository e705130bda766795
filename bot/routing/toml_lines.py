"""Finds the line of each value in a TOML text, which ``tomllib`` does not report.

The text is known to be valid, so a reader of its shape is enough: it tells strings and comments from
brackets, and follows the tables. Its paths are those of the parsed document, such as
``("rule", 2, "channels", 0)``.
"""

# https://toml.io/en/v1.0.0

import re
import tomllib
from typing import Final, NamedTuple

Path = tuple[str | int, ...]

# A multi-line string may end in up to two quotes of its own before the closing three.
_TOKEN: Final = re.compile(
    r'''
      (?P<skip>    [ \t\r]+ | \#[^\n]* )
    | (?P<newline> \n )
    | (?P<string>  """(?:\\.|[^\\])*?"{3,5} | \'\'\'.*?'{3,5} | "(?:\\.|[^"\\])*" | '[^']*' )
    | (?P<mark>    [][{}=,.] )
    | (?P<bare>    [^][{}=,.\s\#"']+ )
    ''',
    re.VERBOSE | re.DOTALL,
)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def find_lines(text: str) -> dict[Path, int]:
    """Return the line, from 1, of every key and of every item of an array in *text*, which is valid TOML.

    A table written in several places has the line of its first mention.
    """
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens: list[_Token] = []
        line = 1
        for match in _TOKEN.finditer(text):
            kind = str(match.lastgroup)
            if kind != "skip":
                self._tokens.append(_Token(kind, match[0], line))
            line += match[0].count("\n")
        self._tokens.append(_Token("end", "", line))
        self._next = 0
        self._lines: dict[Path, int] = {}
        self._sizes: dict[Path, int] = {}

    def read(self) -> dict[Path, int]:
        table: Path = ()
        while (token := self._skip_newlines()).kind != "end":
            if token.text == "[":
                table = self._read_header()
            else:
                self._read_pair(table)
        return self._lines

    def _read_header(self) -> Path:
        """Read ``[a.b]`` or ``[[a.b]]`` and return where what follows belongs."""
        self._take()
        repeated = self._peek().text == "["
        if repeated:
            self._take()
        line = self._peek().line
        *parents, last = self._read_key()
        path: Path = ()
        for part in parents:
            path = self._enter((*path, part), line)
        path = (*path, last)
        if repeated:
            self._sizes[path] = self._sizes.get(path, 0) + 1
        path = self._enter(path, line)
        while self._peek().text == "]":
            self._take()
        return path

    def _enter(self, path: Path, line: int) -> Path:
        """Note the table at *path*, and return its last item where it is an array of tables."""
        self._lines.setdefault(path, line)
        if path in self._sizes:
            path = (*path, self._sizes[path] - 1)
            self._lines.setdefault(path, line)
        return path

    def _read_pair(self, table: Path) -> None:
        line = self._peek().line
        path = table
        for part in self._read_key():
            path = (*path, part)
            self._lines.setdefault(path, line)
        self._take()  # the "="
        self._read_value(path)

    def _read_key(self) -> list[str]:
        parts = []
        while True:
            token = self._take()
            quoted = token.kind == "string"
            parts.append(tomllib.loads(f"key = {token.text}")["key"] if quoted else token.text)
            if self._peek().text != ".":
                return parts
            self._take()

    def _read_value(self, path: Path) -> None:
        first = self._peek().text
        if first == "[":
            self._read_array(path)
        elif first == "{":
            self._read_inline_table(path)
        else:
            # A string, or a number or date in as many pieces as it has dots and blanks.
            while self._peek().kind in ("string", "bare") or self._peek().text == ".":
                self._take()

    def _read_array(self, path: Path) -> None:
        self._take()
        index = 0
        while (token := self._skip_newlines()).text != "]":
            if token.text == ",":
                self._take()
                continue
            item = (*path, index)
            self._lines[item] = token.line
            self._read_value(item)
            index += 1
        self._take()

    def _read_inline_table(self, path: Path) -> None:
        self._take()
        while (token := self._skip_newlines()).text != "}":
            if token.text == ",":
                self._take()
            else:
                self._read_pair(path)
        self._take()

    def _skip_newlines(self) -> _Token:
        while self._peek().kind == "newline":
            self._take()
        return self._peek()

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += 1
        return token
