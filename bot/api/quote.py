"""What somebody else's answer says, fit for an error message: masked, on one line, and short.

The order matters. Invisible characters go first, so that none can hide in a secret; masking comes before
cutting, so that half a secret is not left; what remains then is stored, logged and shown as it is.
"""

import re
from collections.abc import Iterable
from typing import Final

from bot.telemetry.redaction import Redactor
from bot.text import escape, shorten

QUOTE_MAX_CHARS: Final = 200

_READ_MAX_CHARS: Final = 16 * 1024
"""More than this is not searched for secrets, and not quoted either."""
_SPACES: Final = re.compile(r"\s+")


def quote(text: str, secrets: Iterable[str] = (), *, max_chars: int = QUOTE_MAX_CHARS) -> str:
    """Return *text* without *secrets* or what looks like one, printable, in at most *max_chars*."""
    if len(text) > _READ_MAX_CHARS:
        # The last word may be a part of a secret.
        text = "\n".join(_SPACES.split(text[:_READ_MAX_CHARS])[:-1])
    visible = "".join(each for each in text if each.isprintable() or each.isspace())
    return shorten(_SPACES.sub(" ", Redactor(secrets).scrub(visible)).strip(), max_chars)


def clean(text: str, secrets: Iterable[str] = (), *, max_chars: int) -> str:
    """Return *text*, which may be JSON, with its lines and blanks as they are, in at most *max_chars*.

    What is not printable is escaped as in JSON; where there is something to mask, it is dropped.
    """
    text = shorten(text, max_chars)
    visible = "".join(each for each in text if _stays(each))
    masked = Redactor(secrets).scrub(visible)
    if masked != visible:
        return shorten(masked, max_chars)
    return text if visible == text else "".join(each if _stays(each) else escape(each) for each in text)


def _stays(character: str) -> bool:
    return character.isprintable() or character in "\t\n\r"
