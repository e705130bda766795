"""What wrapping and repeated escaping add to a text, taken away so that one spelling is found in all of them.

a line break, escaped or not, and the indent after it     nothing
%25, %2525, … before two digits                           %
backslashes before a quote or a slash                     nothing
other backslashes in a row                                one
"""

import re
from typing import Final

# Rows of backslashes are read from their first one only, so that the time is linear in the text.
_ROW: Final = r"(?<!\\)\\"
_WRAP: Final = rf"(?:(?:{_ROW}+r)?{_ROW}+n|\r?\n)(?:[ \t]|\\+t)*"
_STEPS: Final = (
    (re.compile(_WRAP), ""),
    (re.compile("%(?:25)+"), "%"),
    (re.compile(rf"{_ROW}+(?=[\"'/])"), ""),
    (re.compile(r"\\+"), r"\\"),
)
_UNSETTLED: Final = {"%": "%(?:25)*", "\\": rf"{_ROW}+", **{each: f"(?:{_ROW}+)?{each}" for each in "\"'/"}}


def may_settle(text: str) -> bool:
    """Tell whether ``settle`` may change *text*; fast."""
    return "\\" in text or "\n" in text or "%25" in text


def settle(text: str) -> str:
    """Return *text* without what wrapping and repeated escaping add."""
    for pattern, shown in _STEPS:
        text = pattern.sub(shown, text)
    return text


def compile_unsettled(settled: str) -> re.Pattern[str]:
    """Return the pattern of the texts in which ``settle`` finds *settled*."""
    return re.compile(f"(?:{_WRAP})*".join(_UNSETTLED.get(each, re.escape(each)) for each in settled))
