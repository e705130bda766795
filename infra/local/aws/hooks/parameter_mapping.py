"""Parameter mapping of an HTTP API's service integrations: evaluates selection expressions.

A bare ``$…`` is the whole value, ``${…}`` embeds expressions in text, and anything else is a literal.
"""

# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-parameter-mapping.html

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# AWS truncates the body to this size before selecting from it, but not if it takes the whole body.
_SELECTED_BODY_BYTES = 100 * 1024
_EMBEDDED = re.compile(r"\$\{([^}]*)\}")
_STEP = re.compile(r"\.?([A-Za-z0-9_-]+)|\[(\d+)\]")


class SelectionFailed(Exception):
    """The expression selects nothing from this request; API Gateway answers 400."""


@dataclass(frozen=True)
class Request:
    """What expressions can select from; header names in lower case."""

    headers: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    path: Mapping[str, str]
    body: bytes
    context: Mapping[str, str]


def select(expression: str, request: Request) -> str:
    """Evaluate one integration parameter for *request*; raises SelectionFailed."""
    if _EMBEDDED.search(expression):
        return _EMBEDDED.sub(lambda match: _select("$" + match[1], request), expression)
    return _select(expression, request) if expression.startswith("$") else expression


def _select(expression: str, request: Request) -> str:
    if expression == "$request.body":
        return _text(request.body)
    for prefix, source in _SOURCES.items():
        if expression.startswith(prefix):
            value = source(request, expression.removeprefix(prefix))
            if value is not None:
                return value
            break
    raise SelectionFailed(expression)


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise SelectionFailed("$request.body") from error


def _from_body(request: Request, path: str) -> str | None:
    try:
        value: Any = json.loads(request.body[:_SELECTED_BODY_BYTES])
    except ValueError:
        return None
    for name, index in _STEP.findall(path):
        try:
            value = value[int(index)] if index else value[name]
        except (KeyError, IndexError, TypeError):
            return None
    # AWS does not document how it renders objects and numbers; JSON is likely.
    return value if isinstance(value, str) else json.dumps(value)


_SOURCES: dict[str, Callable[[Request, str], str | None]] = {
    "$request.header.": lambda request, name: request.headers.get(name.lower()),
    "$request.querystring.": lambda request, name: ",".join(request.query.get(name, ())) or None,
    "$request.path.": lambda request, name: request.path.get(name),
    "$request.body.": _from_body,
    "$context.": lambda request, name: request.context.get(name),
}
