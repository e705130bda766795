"""CloudWatch Logs' filter patterns for lines of JSON, as far as the templates use them.

The embedded AWS keeps metric filters and never looks at a line with them. Only comparisons of strings are
known here; whatever else a pattern may hold is refused.
"""

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html

import json
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

_TOKEN = re.compile(r'\s*(?:(&&|\|\||[()])|\$\.(\w+)\s*(=|!=)\s*"([^"\[\]?]*)")')


def matches(pattern: str, line: str) -> bool:
    """Whether *line* is one that *pattern* is after."""
    return _Reading(pattern).matches(json.loads(line))


class _Reading:
    """``&&`` binds more closely than ``||``."""

    def __init__(self, pattern: str) -> None:
        inner = re.fullmatch(r"\s*\{(.*)\}\s*", pattern, re.DOTALL)
        assert inner, pattern
        text, at, self._tokens = inner[1].strip(), 0, list[re.Match[str]]()
        while at < len(text):
            token = _TOKEN.match(text, at)
            assert token, text[at:]
            self._tokens.append(token)
            at = token.end()

    def matches(self, values: Mapping[str, str]) -> bool:
        tokens = list(self._tokens)
        result = self._either(tokens, values)
        assert not tokens, "the pattern goes on"
        return result

    def _either(self, tokens: list[re.Match[str]], values: Mapping[str, str]) -> bool:
        result = self._both(tokens, values)
        while tokens and tokens[0][1] == "||":
            tokens.pop(0)
            result = self._both(tokens, values) or result
        return result

    def _both(self, tokens: list[re.Match[str]], values: Mapping[str, str]) -> bool:
        result = self._one(tokens, values)
        while tokens and tokens[0][1] == "&&":
            tokens.pop(0)
            result = self._one(tokens, values) and result
        return result

    def _one(self, tokens: list[re.Match[str]], values: Mapping[str, str]) -> bool:
        token = tokens.pop(0)
        if token[1] == "(":
            result = self._either(tokens, values)
            assert tokens.pop(0)[1] == ")"
            return result
        # A field that is not there matches nothing, and a template that names one is wrong.
        found = fnmatchcase(values[token[2]], token[4])
        return found if token[3] == "=" else not found
