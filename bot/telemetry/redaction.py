"""Redaction: masks secrets in everything that is logged.

A secret is recognised in two ways. A known value (the token, the webhook, AWS keys once found) is searched
for in every spelling that quoting, escaping or encoding may give it. An unknown one is recognised by its
form or its name (``secret_patterns``). Both work on plain data, because a secret may be in a dict of
headers, in an exception or in an object's ``repr``:

    known value in a text           masked in every spelling: raw, JSON, repr, percent-encoded, base 64, hex,
                                    also escaped or encoded again, wrapped, or cut
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
from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Any, Final

from bot.telemetry.plain_data import expand
from bot.telemetry.repeated_escapes import compile_unsettled, may_settle, settle
from bot.telemetry.secret_patterns import MASK, is_secret_name, mask_secrets, may_hold_secret

SECRET_MIN_CHARS: Final = 8
"""Shorter values are not searched for: they would match ordinary words."""

_ADDED_MAX: Final = 48
_DEPTH_MAX: Final = 12
_CUT_MIN_CHARS: Final = 24
"""Of a spelling at least this long, each end is searched for alone."""
_END_CHARS: Final = 16
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
        self._cuts = _Cuts(())
        self._settled: tuple[str, ...] = ()
        self._pieces: tuple[str, ...] = ()
        self._update_spellings()

    def add(self, secret: str) -> None:
        """Mask *secret* from now on."""
        if len(secret) >= SECRET_MIN_CHARS and secret not in self._kept and secret not in self._added:
            self._added.append(secret)
            self._update_spellings()

    def passes(self, line: str) -> bool:
        """Tell whether *line*, plain data as JSON, certainly has no secret."""
        return not (may_hold_secret(line) or may_settle(line) or any(each in line for each in self._pieces))

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
        if may_settle(text) and (settled := settle(text)) != text:
            for spelling in self._settled:
                if spelling in settled:
                    text = compile_unsettled(spelling).sub(MASK, text)
        return self._cuts.mask(text)

    def _update_spellings(self) -> None:
        spellings = {secret: _spellings_of(secret) for secret in (*self._kept, *self._added)}
        found = set(itertools.chain.from_iterable(spellings.values()))
        # Longest first, because one may be part of another.
        self._spellings = tuple(sorted(found, key=len, reverse=True))
        # The beginning of a URL is no secret, and its end is known by itself.
        long = {
            spelling
            for secret, each in spellings.items()
            for spelling in each
            if len(spelling) >= _CUT_MIN_CHARS and "://" not in secret
        }
        self._cuts = _Cuts(long)
        self._pieces = (*(found - long), *self._cuts.ends)
        self._settled = tuple(
            sorted(filter(_is_long_enough, map(settle, self._spellings)), key=len, reverse=True)
        )


class _Cuts:
    """Finds *spellings* of which one end is missing."""

    def __init__(self, spellings: Iterable[str]) -> None:
        self._heads: defaultdict[str, list[str]] = defaultdict(list)
        self._tails: defaultdict[str, list[str]] = defaultdict(list)
        for spelling in spellings:
            self._heads[spelling[:_END_CHARS]].append(spelling)
            self._tails[spelling[-_END_CHARS:]].append(spelling[::-1])

    @property
    def ends(self) -> set[str]:
        return {*self._heads, *self._tails}

    def mask(self, text: str) -> str:
        for head, spellings in self._heads.items():
            if head in text:
                text = _mask_from(head, spellings, text)
        for tail, reversed_spellings in self._tails.items():
            if tail in text:
                text = _mask_from(tail[::-1], reversed_spellings, text[::-1])[::-1]
        return text


def _mask_from(head: str, spellings: Iterable[str], text: str) -> str:
    """Mask each *head* and as much after it as any of *spellings*, which begin with it, has."""
    parts, done = [], 0
    while (at := text.find(head, done)) >= 0:
        length = max(_shared_chars(text[at : at + len(spelling)], spelling) for spelling in spellings)
        parts += [text[done:at], MASK]
        done = at + length
    return "".join([*parts, text[done:]])


def _shared_chars(one: str, other: str) -> int:
    """Return the length of the beginning that both have."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))


def _is_long_enough(spelling: str) -> bool:
    return len(spelling) >= SECRET_MIN_CHARS


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
        data.hex(),
        data.hex().upper(),
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
