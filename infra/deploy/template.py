"""A CloudFormation template as one self-contained text, so that deploying it needs no bucket.

``aws cloudformation package`` would upload the workflow definitions that the template points to; here they
are put into it.
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
# A loop and all that is indented below it.
_LOOP: Final = re.compile(r"^( *)Fn::ForEach::\w+:.*\n(?:(?:\1 .*| *)\n)*", re.MULTILINE)


# A line that ends so begins a text in which # is a character like any other.
_TEXT_FOLLOWS: Final = re.compile(r"(?:^|\s)[|>][-+0-9]*\s*(?:#.*)?$")


class TemplateError(RelayError):
    """The template or a file that it points to cannot be used."""


class TooLargeError(TemplateError):
    """The template has to go by way of a bucket."""

    def __init__(self, template: "Template") -> None:
        super().__init__(
            f"{template.name} is {template.size_bytes} bytes with its workflows; CloudFormation takes "
            f"{MAX_INLINE_BYTES} without a bucket: name one of yours in the same region with --bucket"
        )


@dataclass(frozen=True)
class Template:
    """A template as CloudFormation is given it; ``name`` is for people."""

    name: str
    body: str

    @property
    def size_bytes(self) -> int:
        return len(self.body.encode())

    @property
    def fits_inline(self) -> bool:
        return self.size_bytes <= MAX_INLINE_BYTES

    def expanded_bytes(self, times: int) -> int:
        """About how large it is with every loop in it gone through *times*; rather too large than too small.

        The limits hold for what a loop becomes, too.
        """
        # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference-foreach.html
        loops = sum(len(loop.group().encode()) for loop in _LOOP.finditer(self.body))
        return self.size_bytes + loops * max(times - 1, 0)


def load_template(path: Path) -> Template:
    """The template at *path* with every local definition put in as a DefinitionString.

    Where it fits into a request without its comments, and only so, they are left out.
    """

    def inline(match: re.Match[str]) -> str:
        definition = _compact_json(path.parent / match["path"].strip())
        # A JSON string is a YAML string too.
        return f"{match['indent']}DefinitionString: {json.dumps(definition)}"

    template = Template(path.name, _LOCAL_DEFINITION.sub(inline, _read(path)))
    if not template.fits_inline and (bare := Template(path.name, drop_comments(template.body))).fits_inline:
        template = bare
    if template.size_bytes > MAX_BYTES:
        raise TemplateError(
            f"{path.name} is {template.size_bytes} bytes with its workflows; CloudFormation takes {MAX_BYTES}"
        )
    return template


def drop_comments(body: str) -> str:
    """Return the YAML *body* without the lines that are nothing but a comment, and without empty ones."""
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
    """The template at *path* as one text that needs no bucket."""
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
