"""A CloudFormation template as one self-contained text, so that deploying it needs no bucket.

``aws cloudformation package`` uploads the workflow definitions that the template names; this puts them into
the template.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.errors import RelayError

# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
MAX_INLINE_BYTES: Final = 51_200
MAX_BYTES: Final = 1_000_000

_LOCAL_DEFINITION: Final = re.compile(
    r"^(?P<indent> *)DefinitionS3Location: (?P<path>[^\s{].*)$", re.MULTILINE
)
# A loop and everything indented below it.
_LOOP: Final = re.compile(r"^( *)Fn::ForEach::\w+:.*\n(?:(?:\1 .*| *)\n)*", re.MULTILINE)
# A line that ends like this begins a block of text, where # starts no comment.
_TEXT_FOLLOWS: Final = re.compile(r"(?:^|\s)[|>][-+0-9]*\s*(?:#.*)?$")


class TemplateError(RelayError):
    """The template, or a file that it names, is unusable."""


class TooLargeError(TemplateError):
    """The template needs a bucket."""

    def __init__(self, template: "Template") -> None:
        super().__init__(
            f"{template.name} is {template.size_bytes} bytes with its workflows; CloudFormation takes "
            f"{MAX_INLINE_BYTES} without a bucket: name one of yours in the same region with --bucket"
        )


@dataclass(frozen=True)
class Template:
    """A template as CloudFormation gets it; ``name`` appears in messages."""

    name: str
    body: str

    @property
    def size_bytes(self) -> int:
        return len(self.body.encode())

    @property
    def fits_inline(self) -> bool:
        return self.size_bytes <= MAX_INLINE_BYTES

    def expanded_bytes(self, times: int) -> int:
        """Return its size with each loop expanded *times*: an estimate that is never too small.

        The limits apply to the expanded template too.
        """
        # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference-foreach.html
        loops = sum(len(loop.group().encode()) for loop in _LOOP.finditer(self.body))
        return self.size_bytes + loops * max(times - 1, 0)


def load_template(path: Path) -> Template:
    """Return the template at *path* with every local definition put in as a DefinitionString.

    Comments are dropped only if that makes it fit into a request.
    """

    def inline(match: re.Match[str]) -> str:
        # A literal block: a quoted string would need an escape for each quotation mark.
        definition = _compact_json(path.parent / match["path"].strip())
        return f"{match['indent']}DefinitionString: |-\n{match['indent']}  {definition}"

    template = Template(path.name, _LOCAL_DEFINITION.sub(inline, _read(path)))
    if not template.fits_inline and (bare := Template(path.name, drop_comments(template.body))).fits_inline:
        template = bare
    if template.size_bytes > MAX_BYTES:
        raise TemplateError(
            f"{path.name} is {template.size_bytes} bytes with its workflows; CloudFormation takes {MAX_BYTES}"
        )
    return template


def drop_comments(body: str) -> str:
    """Return the YAML *body* without empty lines and lines that are only a comment."""
    kept: list[str] = []
    text_indent: int | None = None
    for line in body.split("\n"):
        words = line.strip()
        indent = len(line) - len(line.lstrip(" "))
        if text_indent is not None and (not words or indent > text_indent):
            kept.append(line)
            continue
        if words and not words.startswith("#"):
            text_indent = indent if _TEXT_FOLLOWS.search(line) else None
            kept.append(line)
    return "\n".join(kept) + "\n"


def build_template(path: Path) -> str:
    """Return the template at *path* as one text that needs no bucket; TooLargeError if it is too large."""
    template = load_template(path)
    if not template.fits_inline:
        raise TooLargeError(template)
    return template.body


def _compact_json(path: Path) -> str:
    # ASCII only: CloudFormation has been seen to turn other characters into question marks.
    try:
        return json.dumps(json.loads(_read(path)), separators=(",", ":"))
    except ValueError as error:
        raise TemplateError(f"{path.name} is not JSON: {error}") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise TemplateError(f"{path} cannot be read: {error.strerror}") from error
