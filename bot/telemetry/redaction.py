"""Nothing secret passes: what a log line may show of the objects that it was given.

Two ways lead to the same end. A known value (the token, the webhook, AWS keys as they are found) is looked
for in every spelling that quoting, escaping or encoding may have given it; and what has the shape or the name
of a secret is taken for one. Both work on plain data, because a secret may sit in a mapping of headers, in an
exception or in what a ``repr`` shows.

``passes`` is the look at a finished line that spares nearly every line this work; it errs to one side only.
"""

import base64
import itertools
import json
import re
import urllib.parse
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from bot.telemetry.plain_data import open_up
from bot.telemetry.secret_patterns import MASK, is_secret_name, mask_secrets, may_hold_secret

SECRET_MIN_CHARS: Final = 8
"""A shorter value is not looked for: it would be found in ordinary words."""

_ADDED_MAX: Final = 48
_DEPTH_MAX: Final = 12
_PERCENT: Final = re.compile("%[0-9A-F]{2}")
_URL_SAFE: Final = str.maketrans("+/", "-_")


class Redactor:
    """Knows the secrets, and keeps them out of what is written.

    Those given to the constructor are known for good; of those added later, which are AWS credentials that
    last for hours, the newest are.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._kept = tuple(secret for secret in secrets if len(secret) >= SECRET_MIN_CHARS)
        self._added: deque[str] = deque(maxlen=_ADDED_MAX)
        self._spellings: tuple[str, ...] = ()
        self._spellings_in_json: tuple[str, ...] = ()
        self._learn()

    def add(self, secret: str) -> None:
        """Know *secret* from now on."""
        if len(secret) >= SECRET_MIN_CHARS and secret not in self._kept and secret not in self._added:
            self._added.append(secret)
            self._learn()

    def passes(self, line: str) -> bool:
        """Tell whether *line*, JSON of plain data, is certain to hold no secret."""
        return not may_hold_secret(line) and not any(each in line for each in self._spellings_in_json)

    def scrub(self, text: str) -> str:
        """Return *text* with a mask in place of every secret."""
        text = self._scrub_known(text)
        return mask_secrets(text) if may_hold_secret(text) else text

    def redact(self, value: object) -> Any:
        """Return *value* as plain data, free of secrets; what is nested too deep is named by its type."""
        return self._redact(value, depth=0, secret=False)

    def _redact(self, value: object, *, depth: int, secret: bool) -> Any:
        """*secret* says that the value goes by the name of one; then no text of it is shown."""
        if depth > _DEPTH_MAX:
            return f"<{type(value).__name__}>"
        shown = open_up(value)
        if isinstance(shown, str):
            return MASK if secret else self.scrub(shown)
        if isinstance(shown, dict):
            return {
                self.scrub(name): self._redact(part, depth=depth + 1, secret=secret or is_secret_name(name))
                for name, part in shown.items()
            }
        if isinstance(shown, list):
            # Raw headers come as pairs of a name and a value.
            named = len(shown) == 2 and is_secret_name(str(open_up(shown[0])))
            return [
                self._redact(part, depth=depth + 1, secret=secret or (named and place == 1))
                for place, part in enumerate(shown)
            ]
        if shown is None or isinstance(shown, bool | int | float):
            return shown if self._scrub_known(repr(shown)) == repr(shown) else MASK
        # What a member of an Enum stands for can be anything.
        return self._redact(shown, depth=depth + 1, secret=secret)

    def _scrub_known(self, text: str) -> str:
        for spelling in self._spellings:
            if spelling in text:
                text = text.replace(spelling, MASK)
        return text

    def _learn(self) -> None:
        found = set(itertools.chain.from_iterable(map(_spellings_of, (*self._kept, *self._added))))
        # The longest first: one may be a part of another.
        self._spellings = tuple(sorted(found, key=len, reverse=True))
        self._spellings_in_json = tuple(
            found | {json.dumps(each, ensure_ascii=False)[1:-1] for each in found}
        )


def _spellings_of(secret: str) -> set[str]:
    """Return *secret* as it looks raw, quoted, escaped or encoded."""
    data = secret.encode(errors="surrogatepass")
    percent = {urllib.parse.quote(data), urllib.parse.quote(data, safe=""), urllib.parse.quote_plus(data)}
    escaped = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    return {
        secret,
        *escaped,
        *(each.replace("/", "\\/") for each in escaped),
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
        repr(data)[2:-1],
        *percent,
        *(_PERCENT.sub(lambda code: code.group().lower(), each) for each in percent),
        *_in_base64(data),
    }


def _in_base64(data: bytes) -> set[str]:
    """Return what base 64 shows of *data* wherever it stands in what was encoded, in both alphabets."""
    found = set()
    for before in range(3):
        text = base64.b64encode(bytes(before) + data).decode()
        # Only the characters that are made of the secret's bits alone.
        text = text[(8 * before + 5) // 6 : 8 * (before + len(data)) // 6]
        found |= {text, text.translate(_URL_SAFE)}
    return found
