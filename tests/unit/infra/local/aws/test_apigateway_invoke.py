"""The request and the result of an apigateway:invoke task."""

import json
from typing import Any

import pytest

from infra.local.aws.hooks.apigateway_invoke import InvalidTask, build_request, build_result
from infra.local.aws.hooks.asgi_client import Response

HOST = "abc12345.execute-api.us-east-1.amazonaws.com"
TASK: dict[str, Any] = {"ApiEndpoint": HOST, "Method": "POST"}


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, f"https://{HOST}/"),
        ({"Path": "destinations/default"}, f"https://{HOST}/destinations/default"),
        ({"Path": "/destinations/default"}, f"https://{HOST}/destinations/default"),
        ({"Path": "/a b/ü"}, f"https://{HOST}/a%20b/%C3%BC"),
        ({"Stage": "v1", "Path": "x"}, f"https://{HOST}/v1/x"),
        ({"QueryParameters": {"a": ["1", "2"], "b": ["x y&z"]}}, f"https://{HOST}/?a=1&a=2&b=x%20y%26z"),
    ],
)
def test_builds_the_url(fields: dict[str, Any], url: str) -> None:
    assert build_request(TASK | fields)[1] == url


def test_sends_json_body() -> None:
    _, _, headers, body, _ = build_request(TASK | {"RequestBody": {"a": "é"}})

    assert json.loads(body) == {"a": "é"}
    assert headers == {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("allowed", "sent"), [(False, {"a": [{}], "d": 0}), (True, {"a": [{"b": None}], "c": None, "d": 0})]
)
def test_sends_nulls_only_if_allowed(allowed: bool, sent: object) -> None:
    fields = {"RequestBody": {"a": [{"b": None}], "c": None, "d": 0}, "AllowNullValues": allowed}

    assert json.loads(build_request(TASK | fields)[3]) == sent


def test_sends_text_body_unchanged() -> None:
    """A string body keeps the Content-Type that the task names."""
    fields = {"RequestBody": "plain", "Headers": {"content-type": ["text/plain"]}}

    _, _, headers, body, _ = build_request(TASK | fields)

    assert (headers, body) == ({"content-type": "text/plain"}, b"plain")


@pytest.mark.parametrize(
    "fields",
    [
        {"Headers": {"X-A": "bare"}},
        {"Headers": {"X-A": [1]}},
        {"Headers": ["X-A"]},
        {"QueryParameters": {"a": "bare"}},
        {"Method": "TRACE"},
        {"Nonsense": 1},
        {"Headers": {"Authorization": ["x"]}},
        {"Headers": {"host": ["x"]}},
        {"Headers": {"X-Amz-Target": ["x"]}},
        {"Headers": {"x-amzn-trace-id": ["x"]}},
        {"Headers": {"X-Forwarded-For": ["x"]}},
        {"Headers": {"TE": ["x"]}},
    ],
)
def test_refuses_invalid_arguments(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask):
        build_request(TASK | fields)


def test_allows_user_agent_header() -> None:
    assert build_request(TASK | {"Headers": {"User-Agent": ["x"]}})[2] == {"User-Agent": "x"}


@pytest.mark.parametrize("arguments", [None, {}, {"Method": "GET"}, {"ApiEndpoint": HOST}])
def test_requires_endpoint_and_method(arguments: Any) -> None:
    with pytest.raises(InvalidTask):
        build_request(arguments)


@pytest.mark.parametrize(
    ("body", "parsed"),
    [(b'{"a": [1]}', {"a": [1]}), (b"text", "text"), (b"", ""), (b'"x"', "x"), (b"\xff", "\ufffd")],
)
def test_parses_json_response(body: bytes, parsed: Any) -> None:
    assert build_result(Response(200, [], body))["ResponseBody"] == parsed


def test_keeps_repeated_headers() -> None:
    result = build_result(Response(204, [("x-a", "1"), ("x-a", "2"), ("date", "now")], b""))

    assert result["Headers"] == {"X-A": ["1", "2"], "Date": ["now"]}
    assert (result["StatusCode"], result["StatusText"]) == (204, "No Content")
