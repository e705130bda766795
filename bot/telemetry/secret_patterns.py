"""Patterns of secrets that are not known by value: their form in text, and their names.

A pattern too wide hides a harmless word; one too narrow shows a secret. So they are wide. Each runs in time
linear in the text, whatever the text: a log line must not stall the process.

    _PATTERNS            text that is masked
    _MARKS and others    what such text contains, so that most lines need only this quick search
    _NAME                names whose values are masked whole
"""

import re
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

_PATTERNS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    # A Discord webhook or interaction, whole: https://discord.com/api/v10/webhooks/<id>/<token>.
    (re.compile(rf"(?:https?:{_SLASH}{{2}}[^\s\"'<>]{{0,300}}?)?webhooks{_SLASH}\d+{_SLASH}[\w%.-]+"), MASK),
    # A Discord token: the bot's id in base 64, a timestamp, a MAC. https://docs.discord.com/developers/reference
    (re.compile(r"[\w-]{17,40}\.[\w-]{5,8}\.[\w-]{25,}"), MASK),
    (re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), MASK),
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
    (re.compile(r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}"), MASK),
    (re.compile(r"\bAWS4-HMAC-SHA256\s+Credential=[^\n\"'<>]+"), MASK),
    (re.compile(r"(://)[^\s/@:\"'<>]{0,200}:[^\s/@\"'<>]{0,200}@"), rf"\1{MASK}@"),
    # name=value, name: scheme value, "name": "value", ('name', 'value'), <name>value</name>.
    (
        re.compile(
            rf"((?:{_WORDS})s?{_QUOTE}?\s*(?:=>|[:=>]|%3[Dd]|,(?=\s*b?{_QUOTE}))\s*b?{_QUOTE}?)"
            rf"(?:\w+\s+(?={_BARE}{{6}}))?{_BARE}{{6,}}",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    (re.compile(rf"\b((?:Bot|Bearer|Basic)\s+)(?=\S*[\d._-]){_BARE}{{6,}}"), rf"\1{MASK}"),
)

# Every text that matches a pattern contains one of these.
_MARKS: Final = (
    *("webhook", "authori", "passw", "signature", "credential", "cookie", "secret", "token", "key", "%3d"),
    *("akia", "asia", "abia", "acca", "eyj"),
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
    return text
