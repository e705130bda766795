"""The request and the result of the task ``arn:aws:states:::http:invoke``: pure functions."""

# https://docs.aws.amazon.com/step-functions/latest/dg/call-https-apis.html

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from infra.local.aws.hooks.connections import OAUTH

METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"})
_FIELDS = frozenset({
    "ApiEndpoint", "Method", "Authentication", "InvocationConfig", "Headers", "QueryParameters",
    "RequestBody", "Transform",
})  # fmt: skip
# Only this machine may be called without TLS.
_ENDPOINT = re.compile(r"https://[^/?#\s@]+([/?][^\s#]*)?|http://127\.0\.0\.1:\d+([/?][^\s#]*)?")
_FORBIDDEN_HEADER = re.compile(
    r"a-im|accept-charset|accept-datetime|accept-encoding|authorization|cache-control|connection"
    r"|content-encoding|content-md5|date|expect|forwarded|from|host|http2-settings|if-.*|max-forwards|origin"
    r"|pragma|proxy-authorization|range|referer|server|te|trailer|transfer-encoding|upgrade|via|warning"
    r"|x-forwarded-.*|x-amz-.*|x-amzn-.*",
    re.IGNORECASE,
)
_JSON = "application/json; charset=UTF-8"
_FORM = "application/x-www-form-urlencoded;charset=UTF-8"
# Where the connection's parameters go, and the task's field for the same.
_PLACES = {
    "HeaderParameters": "Headers",
    "QueryStringParameters": "QueryParameters",
    "BodyParameters": "RequestBody",
}


class InvalidTask(Exception):
    """The arguments are invalid: the task fails with States.Runtime, which no Catch matches."""


@dataclass(frozen=True)
class Task:
    """The checked arguments of one task."""

    url: str
    method: str
    connection_arn: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class HttpRequest:
    """What is sent; header names as given."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


def parse_task(arguments: Any) -> Task:
    """Check the task's *arguments*; raises InvalidTask."""
    if not isinstance(arguments, dict) or not {"ApiEndpoint", "Method"} <= arguments.keys():
        raise InvalidTask("The fields 'ApiEndpoint' and 'Method' are required")
    if unknown := arguments.keys() - _FIELDS:
        raise InvalidTask(f"The field '{min(unknown)}' is not supported")
    if arguments["Method"] not in METHODS:
        raise InvalidTask("The value of the field 'Method' is not supported")
    if not isinstance(arguments["ApiEndpoint"], str) or not _ENDPOINT.fullmatch(arguments["ApiEndpoint"]):
        raise InvalidTask("The value of the field 'ApiEndpoint' is not an HTTPS URL")
    config = arguments.get("InvocationConfig") or arguments.get("Authentication") or {}
    if not isinstance(config, dict) or not isinstance(config.get("ConnectionArn"), str):
        raise InvalidTask("The field 'ConnectionArn' is required")
    headers = arguments.get("Headers") or {}
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise InvalidTask("The value of the field 'Headers' has an invalid format")
    if forbidden := [name for name in headers if _FORBIDDEN_HEADER.fullmatch(name)]:
        raise InvalidTask(f"The header '{forbidden[0]}' is not allowed")
    return Task(arguments["ApiEndpoint"], arguments["Method"], config["ConnectionArn"], arguments)


def build_request(task: Task, credentials: Mapping[str, Any], *, region: str) -> HttpRequest:
    """Build the request of *task* with the *credentials* from its connection's secret, which win."""
    headers, query, body = _with_connection(task.fields, credentials["AuthParameters"])
    form = (task.fields.get("Transform") or {}).get("RequestBodyEncoding") == "URL_ENCODED"
    names = {name.lower() for name in headers}
    if "content-type" not in names:
        headers["Content-Type"] = _FORM if form else _JSON
    headers |= _authorization(credentials)
    headers |= {
        "User-Agent": f"Amazon|StepFunctions|HttpInvoke|{region}",
        "Range": "bytes=0-262144",
    }
    parts = urlsplit(task.url)
    pairs = [*parse_qsl(parts.query, keep_blank_values=True), *_pairs(query, "REPEAT")]
    url = urlunsplit(parts._replace(query=urlencode(pairs, quote_via=quote)))
    return HttpRequest(task.method, url, headers, _encode(body, task.fields if form else None))


def _with_connection(
    fields: Mapping[str, Any], parameters: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, Any], Any]:
    """Return headers, query and body with the connection's InvocationHttpParameters put over the task's."""
    added = parameters.get("InvocationHttpParameters") or {}
    found: list[Any] = []
    for place, field in _PLACES.items():
        own = fields.get(field)
        over = {entry["Key"]: entry["Value"] for entry in added.get(place) or ()}
        found.append({**(own or {}), **over} if over and isinstance(own or {}, dict) else own)
    return dict(found[0] or {}), dict(found[1] or {}), found[2]


def _authorization(credentials: Mapping[str, Any]) -> dict[str, str]:
    kind, parameters = credentials["AuthorizationType"], credentials["AuthParameters"]
    if kind == OAUTH:
        return {"Authorization": credentials["Token"]}
    if kind == "BASIC":
        basic = parameters["BasicAuthParameters"]
        pair = f"{basic['Username']}:{basic['Password']}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    key = parameters["ApiKeyAuthParameters"]
    return {key["ApiKeyName"]: key["ApiKeyValue"]}


def _encode(body: Any, form_fields: Mapping[str, Any] | None) -> bytes:
    if body is None:
        return b""
    if form_fields is not None:
        options = form_fields["Transform"].get("RequestEncodingOptions") or {}
        return urlencode(list(_pairs(body, options.get("ArrayFormat", "INDICES")))).encode()
    return (body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)).encode()


def _pairs(values: Mapping[str, Any], array_format: str) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if not isinstance(value, list):
            yield name, _text(value)
        elif array_format == "COMMAS":
            yield name, ",".join(map(_text, value))
        else:
            for index, item in enumerate(value):
                suffix = {"INDICES": f"[{index}]", "BRACKETS": "[]", "REPEAT": ""}[array_format]
                yield name + suffix, _text(item)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
