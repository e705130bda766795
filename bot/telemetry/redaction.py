"""Redaction: masks secrets in everything that is logged.

A secret is recognised in two ways. A known value (the token, the webhook, AWS keys once found) is searched
for in every spelling that quoting, escaping or encoding may give it. An unknown one is recognised by its
form or its name (``secret_patterns``). Both work on plain data, because a secret may be in a dict of
headers, in an exception or in an object's ``repr``:

    known value in a text           masked in every spelling: raw, JSON, repr, percent-encoded, base 64
    text in the form of a secret    masked
    text under a secret's name      masked whole: {"token": …}, ("Authorization", …)

This is slow, so ``passes`` first checks the finished line: it may fail a harmless line, but never passes a
secret.
"""

import base64
import itertools
import json
import re
import urllib.parse
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from bot.telemetry.plain_data import expand
from bot.telemetry.secret_patterns import MASK, is_secret_name, mask_secrets, may_hold_secret

SECRET_MIN_CHARS: Final = 8
"""Shorter values are not searched for: they would match ordinary words."""

_ADDED_MAX: Final = 48
_DEPTH_MAX: Final = 12
_PERCENT: Final = re.compile("%[0-9A-F]{2}")
_URL_SAFE: Final = str.maketrans("+/", "-_")


class Redactor:
    """Masks *secrets*, the newest of those added later, and whatever looks like one.

    Only the newest are kept because AWS credentials are added at every refresh, for as long as the process
    runs.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._kept = tuple(secret for secret in secrets if len(secret) >= SECRET_MIN_CHARS)
        self._added: deque[str] = deque(maxlen=_ADDED_MAX)
        self._spellings: tuple[str, ...] = ()
        self._spellings_in_json: tuple[str, ...] = ()
        self._update_spellings()

    def add(self, secret: str) -> None:
        """Mask *secret* from now on."""
        if len(secret) >= SECRET_MIN_CHARS and secret not in self._kept and secret not in self._added:
            self._added.append(secret)
            self._update_spellings()

    def passes(self, line: str) -> bool:
        """Tell whether *line*, plain data as JSON, certainly has no secret."""
        return not may_hold_secret(line) and not any(each in line for each in self._spellings_in_json)

    def scrub(self, text: str) -> str:
        """Return *text* with every secret masked."""
        text = self._scrub_known(text)
        return mask_secrets(text) if may_hold_secret(text) else text

    def redact(self, value: object) -> Any:
        """Return *value* as plain data without secrets; what is nested too deep becomes its type's name."""
        return self._redact(value, depth=0, secret=False)

    def _redact(self, value: object, *, depth: int, secret: bool) -> Any:
        """Redact *value*; *secret*: it stands under a secret's name, so every text in it is masked."""
        if depth > _DEPTH_MAX:
            return f"<{type(value).__name__}>"
        shown = expand(value)
        if isinstance(shown, str):
            return MASK if secret else self.scrub(shown)
        if isinstance(shown, dict):
            return {
                self.scrub(name): self._redact(part, depth=depth + 1, secret=secret or is_secret_name(name))
                for name, part in shown.items()
            }
        if isinstance(shown, list):
            # Raw headers are pairs of a name and a value.
            named = len(shown) == 2 and is_secret_name(str(expand(shown[0])))
            return [
                self._redact(part, depth=depth + 1, secret=secret or (named and place == 1))
                for place, part in enumerate(shown)
            ]
        if shown is None or isinstance(shown, bool | int | float):
            return shown if self._scrub_known(repr(shown)) == repr(shown) else MASK
        # The value of an Enum's member may be any object.
        return self._redact(shown, depth=depth + 1, secret=secret)

    def _scrub_known(self, text: str) -> str:
        for spelling in self._spellings:
            if spelling in text:
                text = text.replace(spelling, MASK)
        return text

    def _update_spellings(self) -> None:
        found = set(itertools.chain.from_iterable(map(_spellings_of, (*self._kept, *self._added))))
        # Longest first, because one may be part of another.
        self._spellings = tuple(sorted(found, key=len, reverse=True))
        self._spellings_in_json = tuple(
            found | {json.dumps(each, ensure_ascii=False)[1:-1] for each in found}
        )


def _spellings_of(secret: str) -> set[str]:
    """Return *secret* raw, quoted, escaped and encoded."""
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
    """Return the base 64 of *data* at each possible offset in the encoded bytes, in both alphabets."""
    found = set()
    for before in range(3):
        text = base64.b64encode(bytes(before) + data).decode()
        # Keep only characters made entirely of the secret's bits.
        text = text[(8 * before + 5) // 6 : 8 * (before + len(data)) // 6]
        found |= {text, text.translate(_URL_SAFE)}
    return found
