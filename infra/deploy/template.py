"""A CloudFormation template as one self-contained text, so that deploying it needs no bucket.

``aws cloudformation package`` uploads the workflow definitions that the template names; this puts them into
the template.
"""

import functools
import json
import re
from collections.abc import Callable
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
_OUTPUTS: Final = re.compile(r"^Outputs:", re.MULTILINE)
# A loop and everything indented below it.
_LOOP: Final = re.compile(r"^( *)Fn::ForEach::\w+:.*\n(?:(?:\1 .*| *)\n)*", re.MULTILINE)
# A resource's metadata that is only for checkov, which reads the file.
_SCAN_EXCEPTIONS: Final = re.compile(r"^( *)Metadata:\n\1  checkov:\n(?:\1   .*\n)+(?!\1  \S)", re.MULTILINE)
_DESCRIBED: Final = re.compile(r"^(?:Parameters|Outputs):\n(?:(?: .*)?\n)+", re.MULTILINE)
_DESCRIPTION: Final = re.compile(r"^    Description:.*\n(?:      .*\n)*", re.MULTILINE)
# They are for the console's form.
_GROUPS: Final = re.compile(r"^  AWS::CloudFormation::Interface:\n(?:    .*\n)+", re.MULTILINE)
_EMPTY_METADATA: Final = re.compile(r"^Metadata:\n(?!  )", re.MULTILINE)
# The linters want these; AWS assumes them for all but databases of RDS.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
_DEFAULT_POLICIES: Final = re.compile(r"^    (?:UpdateReplace|Deletion)Policy: Delete\n", re.MULTILINE)
# A line that ends like this begins a block of text, where # starts no comment.
_TEXT_FOLLOWS: Final = re.compile(r"(?:^|\s)[|>][-+0-9]*\s*(?:#.*)?$")
_RESOURCES: Final = re.compile(r"^Resources:\n", re.MULTILINE)
_ITEM_IS_TEXT: Final = re.compile(r"- (?:!\w+ )?[|>]")


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


def load_template(path: Path, *, definition: str | None = None, resources: str = "") -> Template:
    """Return the template at *path* with every local definition put in as a DefinitionString.

    The text *definition* replaces the file's, and *resources* is YAML to add to the template's resources.
    It is abridged only as far as needed for a request, with room for a few destinations.
    """

    def inline(match: re.Match[str]) -> str:
        # A literal block: a quoted string would need an escape for each quotation mark.
        name = match["path"].strip()
        text = _read(path.parent / name) if definition is None else definition
        return f"{match['indent']}DefinitionString: |-\n{match['indent']}  {_compact_json(name, text)}"

    body = _read(path)
    if resources:
        body = _OUTPUTS.sub(lambda match: f"{resources}\n{match[0]}", body, count=1)
    template = _abridge(Template(path.name, _LOCAL_DEFINITION.sub(inline, body)))
    if template.size_bytes > MAX_BYTES:
        raise TemplateError(
            f"{path.name} is {template.size_bytes} bytes with its workflows; CloudFormation takes {MAX_BYTES}"
        )
    return template


def _abridge(template: Template) -> Template:
    """Return *template* with as much left out as makes it fit into a request; unchanged if nothing does."""
    shorter = template
    for steps in _ABRIDGEMENTS:
        shorter = Template(
            template.name, functools.reduce(lambda body, step: step(body), steps, template.body)
        )
        if shorter.expanded_bytes(_FEW) <= MAX_INLINE_BYTES:
            return shorter
    return shorter if shorter.fits_inline else template


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


def drop_scan_exceptions(body: str) -> str:
    """Return the YAML *body*, which has no comments, without the scan's exceptions."""
    return _SCAN_EXCEPTIONS.sub("", body)


def drop_default_policies(body: str) -> str:
    """Return the YAML *body* without what it says of deletion where AWS assumes the same."""
    return _DEFAULT_POLICIES.sub("", body)


def drop_descriptions(body: str) -> str:
    """Return the YAML *body*, which has no comments, without the texts for the console's form and outputs."""
    bare = _DESCRIBED.sub(lambda section: _DESCRIPTION.sub("", section.group()), body)
    return _EMPTY_METADATA.sub("", _GROUPS.sub("", bare))


def narrow(body: str) -> str:
    """Return the YAML *body*, which has no comments, with one column for each level, from the resources on.

    Parameters keep their two columns, by which they are read again.
    """
    start = _RESOURCES.search(body)
    end = start.end() if start else len(body)
    lines = [body[:end].removesuffix("\n")]
    # The column of each level that is open, and what it becomes.
    levels = [(0, 0)]
    # The column that a block of text is deeper than, and that of its first line.
    text: tuple[int, int | None] | None = None
    for line in body[end:].split("\n")[:-1]:
        words = line.lstrip(" ")
        indent = len(line) - len(words)
        if text is not None and (not words or indent > text[0]):
            first = indent if text[1] is None else text[1]
            text = text[0], first if words else text[1]
            lines.append(" " * (levels[-1][1] + 1 + indent - first) + words if words else "")
            continue
        while levels[-1][0] > indent:
            levels.pop()
        if levels[-1][0] < indent:
            levels.append((indent, levels[-1][1] + 1))
        lines.append(" " * levels[-1][1] + words)
        if words.startswith("- "):
            levels.append((indent + 2, levels[-1][1] + 2))
        # The text of an item is deeper than its dash, that of a key in it deeper than the key.
        text = (
            (indent if _ITEM_IS_TEXT.match(words) else levels[-1][0], None)
            if _TEXT_FOLLOWS.search(line)
            else None
        )
    return "\n".join(lines) + "\n"


Step = Callable[[str], str]
_ABRIDGEMENTS: Final[tuple[tuple[Step, ...], ...]] = (
    (),
    (drop_comments,),
    (drop_comments, drop_scan_exceptions),
    (drop_comments, drop_scan_exceptions, narrow),
    (drop_comments, drop_scan_exceptions, drop_default_policies, drop_descriptions, narrow),
)
_FEW: Final = 4
"""So many destinations fit without a bucket."""


def build_template(path: Path) -> str:
    """Return the template at *path* as one text that needs no bucket; TooLargeError if it is too large."""
    template = load_template(path)
    if not template.fits_inline:
        raise TooLargeError(template)
    return template.body


def _compact_json(name: str, text: str) -> str:
    # ASCII only: CloudFormation has been seen to turn other characters into question marks.
    try:
        return json.dumps(json.loads(text), separators=(",", ":"))
    except ValueError as error:
        raise TemplateError(f"{Path(name).name} is not JSON: {error}") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise TemplateError(f"{path} cannot be read: {error.strerror}") from error
