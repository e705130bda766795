"""A CloudFormation template as one self-contained text, so that deploying it needs no bucket.

``aws cloudformation package`` would upload the workflow definitions that the template points to; here they
are put into it.
"""

import json
import re
from pathlib import Path

from bot.errors import RelayError

# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
MAX_INLINE_BYTES = 51_200

_LOCAL_DEFINITION = re.compile(r"^(?P<indent> *)DefinitionS3Location: (?P<path>[^\s{].*)$", re.MULTILINE)


class TemplateError(RelayError):
    """The template or a file that it points to cannot be used."""


def build_template(path: Path) -> str:
    """The template at *path* with every local definition put in as a DefinitionString."""

    def inline(match: re.Match[str]) -> str:
        definition = _compact_json(path.parent / match["path"].strip())
        # A JSON string is a YAML string too.
        return f"{match['indent']}DefinitionString: {json.dumps(definition)}"

    body = _LOCAL_DEFINITION.sub(inline, _read(path))
    size = len(body.encode())
    if size > MAX_INLINE_BYTES:
        raise TemplateError(
            f"{path.name} is {size} bytes with its workflows; CloudFormation takes {MAX_INLINE_BYTES} "
            "without a bucket: use aws cloudformation package"
        )
    return body


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
