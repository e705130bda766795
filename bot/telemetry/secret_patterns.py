"""Patterns of secrets that are not known by value: their form in text, and their names.

A pattern too wide hides a harmless word; one too narrow shows a secret. So a word such as "token" is not
enough, nor is a value alone: "token: expired", "max_tokens=10000000" and dotted names stay readable. Each
runs in time linear in the text, whatever the text: a log line must not stall the process.

    _PATTERNS            text that is masked, whatever stands before it
    _NAMED, _SCHEME      a secret's name or a scheme, and a value, which must be plausible
    _MARKS and others    what such text contains, so that most lines need only this quick search
    _NAME                names whose values are masked whole
"""

import re
from collections.abc import Callable
from typing import Final

MASK: Final = "***"

_WORDS: Final = (
    r"authori[sz]ation|password|passwd|signature|credential|cookie|secret|token|webhook[_-]?url|webhook[_-]?uri"
    r"|(?:access|secret|private|api|signing)[_-]?key(?:[_-]?id)?"
)
_NAME: Final = re.compile(rf"(?:{_WORDS})s?\Z", re.IGNORECASE)

# A slash may be escaped, as some JSON is, or percent-encoded.
_SLASH: Final = r"(?:\\*/|%2[Ff]|\\*u002[Ff])"
_QUOTE: Final = r"(?:\\*[\"'])"
_BARE: Final = r"(?:[^\s\"'\\,;<>&(){}\[\]]|\\+/|\\+u00[0-9A-Fa-f]{2})"

# Also after an escaped line break or tab, whose letter would join the word.
_START: Final = r"(?:\b|(?<=\\[nrt]))"

_DIGITS_IN_BASE64: Final = "(?:[MNO][DTjz][AEIMQUYcgk][w-z0-5])"
"""Three digits."""

_PATTERNS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    # A Discord webhook or interaction, whole: https://discord.com/api/v10/webhooks/<id>/<token>.
    (re.compile(rf"(?:https?:{_SLASH}{{2}}[^\s\"'<>]{{0,300}}?)?webhooks{_SLASH}\d+{_SLASH}[\w%.-]+"), MASK),
    # The token of an interaction: "interaction:", its id and a secret, in base 64.
    (re.compile(r"aW50ZXJhY3Rpb246[\w+/=-]{8,}"), MASK),
    # A Discord token: the bot's id in base 64, a timestamp, a MAC. https://docs.discord.com/developers/reference
    # The id has 17 to 20 digits, so few characters are possible in each place.
    (re.compile(rf"{_DIGITS_IN_BASE64}{{5,6}}[\w-]{{0,3}}\.[\w-]{{5,8}}\.[\w-]{{25,}}"), MASK),
    (re.compile(r"(?:(?<![\w-])|(?<=\\[nrt]))eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), MASK),
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
    (re.compile(rf"{_START}(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{{12,}}"), MASK),
    (re.compile(rf"{_START}AWS4-HMAC-SHA256\s+Credential=[^\n\"'<>]+"), MASK),
    (re.compile(r"(://)[^\s/@:\"'<>]{0,200}:[^\s/@\"'<>]{0,200}@"), rf"\1{MASK}@"),
)

# name=value, name: scheme value, "name": "value", ('name', 'value'), <name>value</name>.
_NAMED: Final = re.compile(
    rf"(?P<lead>(?P<name>{_WORDS})(?P<plural>s?){_QUOTE}?\s*"
    rf"(?P<sign>=>|[:=>]|%3[Dd]|,(?=\s*b?{_QUOTE}))\s*(?:b(?={_QUOTE}))?(?P<quote>{_QUOTE}?))"
    rf"(?P<first>{_BARE}+)(?P<second>\s+{_BARE}{{6,}})?",
    re.IGNORECASE,
)
_SCHEME: Final = re.compile(
    rf"(?P<lead>{_START}(?:Bot|Bearer|Basic)\s+)(?=\S*[\d._-])(?P<value>{_BARE}{{6,}})"
)
_SCHEMES: Final = frozenset({"bot", "bearer", "basic", "digest", "negotiate", "ntlm"})
_VALUE_MIN_CHARS: Final = 6
_LABEL: Final = re.compile(rf"(?:{_WORDS})s?{_QUOTE}?[:=]\Z", re.IGNORECASE)
"""What follows a name but is itself the name of the next secret, as after a closing tag."""
_LABEL_MAX_CHARS: Final = 40
_ALWAYS_SECRET: Final = ("passw", "cookie")
"""Names whose value may be an ordinary word."""

# A part of a name: word, Word, WORD, camelCase.
_NAME_PART: Final = re.compile(r"(?:[A-Z]?[a-z]+|[A-Z]+)(?:[A-Z][a-z]{2,})*")
_NAME_PART_MAX_CHARS: Final = 24
_JOINTS: Final = re.compile(r"[._-]+")

# Every text that matches a pattern contains one of these.
_MARKS: Final = (
    *("webhook", "authori", "passw", "signature", "credential", "cookie", "secret", "token", "key", "%3d"),
    *("akia", "asia", "abia", "acca", "eyj", "aw50zxjhy3rpb246"),
)
_CASED_MARKS: Final = ("Bot", "Bearer", "Basic")
_TOKEN_MARK: Final = re.compile(r"\.[\w-]{5,8}\.[\w-]{25}")


def is_secret_name(name: str) -> bool:
    """Tell whether *name* is that of a secret: token, Authorization, secret_key, …"""
    return _NAME.search(name) is not None


def may_hold_secret(text: str) -> bool:
    """Tell whether ``mask_secrets`` may change *text*: fast, with false positives but no false negatives."""
    lower = text.lower()
    return (
        any(mark in lower for mark in _MARKS)
        or any(mark in text for mark in _CASED_MARKS)
        or ("@" in text and "://" in text)
        or _TOKEN_MARK.search(text) is not None
    )


def mask_secrets(text: str) -> str:
    """Return *text* with everything that looks like a secret masked."""
    for pattern, mask in _PATTERNS:
        text = pattern.sub(mask, text)
    return _mask_each(_SCHEME, _scheme_end, _mask_each(_NAMED, _named_end, text))


def _mask_each(pattern: re.Pattern[str], find_end: Callable[[re.Match[str]], int | None], text: str) -> str:
    """Mask from each lead to where *find_end* says; ``None`` leaves it, and goes on right after the lead."""
    parts, done, at = [], 0, 0
    while match := pattern.search(text, at):
        at = match.end("lead")
        if (end := find_end(match)) is not None:
            parts += [text[done:at], MASK]
            done = at = end
    return "".join([*parts, text[done:]])


def _named_end(match: re.Match[str]) -> int | None:
    """Return where the secret ends that follows a secret's name."""
    name, first, second = match["name"].lower(), match["first"], (match["second"] or "").strip()
    if len(first) <= _LABEL_MAX_CHARS and _LABEL.search(first):
        return None
    known_scheme = first.lower() in _SCHEMES
    may_be_scheme = known_scheme or match["quote"] or name.startswith("authori")
    if (
        second
        and may_be_scheme
        and first.isidentifier()
        and (match["quote"] or (known_scheme and name.startswith("authori")) or _is_plausible(second))
    ):
        return match.end("second")
    if len(first) < _VALUE_MIN_CHARS or not first.strip("*"):
        return None
    return match.end("first") if match["quote"] or _is_value(match, name, first) else None


def _is_value(match: re.Match[str], name: str, value: str) -> bool:
    """Tell whether the unquoted *value* may be a secret, not a word of a sentence or a number of things."""
    if match["plural"] and value.rstrip(".:").isdecimal():
        return False
    if match["sign"] == ":" and not name.startswith(_ALWAYS_SECRET):
        return _is_plausible(value)
    return "." not in value.rstrip(".") or _is_plausible(value)


def _scheme_end(match: re.Match[str]) -> int | None:
    """Return where the secret ends that follows an authorization scheme."""
    value = match["value"]
    return match.end() if _is_plausible(value) and not value.isdecimal() else None


def _is_plausible(value: str) -> bool:
    """Tell whether *value* looks made by a machine: it is no word, no dotted name and no mask."""
    parts = [part for part in _JOINTS.split(value.rstrip(":!?*")) if part]
    return not all(len(part) <= _NAME_PART_MAX_CHARS and _NAME_PART.fullmatch(part) for part in parts)
