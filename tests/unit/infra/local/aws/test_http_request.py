"""The request of an http:invoke task."""

import json
from typing import Any

import pytest

from infra.local.aws.hooks.http_request import InvalidTask, build_request, parse_task

TASK: dict[str, Any] = {
    "ApiEndpoint": "https://api.example.org/v1/events",
    "Method": "POST",
    "InvocationConfig": {"ConnectionArn": "arn:aws:events:us-east-1:123456789012:connection/api/1"},
}
API_KEY: dict[str, Any] = {
    "AuthorizationType": "API_KEY",
    "AuthParameters": {"ApiKeyAuthParameters": {"ApiKeyName": "X-Api-Key", "ApiKeyValue": "k3y"}},
}


def _build(credentials: dict[str, Any] = API_KEY, **fields: Any) -> Any:
    return build_request(parse_task(TASK | fields), credentials, region="us-east-1")


def test_sends_what_aws_sets() -> None:
    request = _build(RequestBody={"a": "é"}, Headers={"Idempotency-Key": "01JD"})

    assert request.headers == {
        "Idempotency-Key": "01JD",
        "Content-Type": "application/json; charset=UTF-8",
        "X-Api-Key": "k3y",
        "User-Agent": "Amazon|StepFunctions|HttpInvoke|us-east-1",
        "Range": "bytes=0-262144",
    }
    assert json.loads(request.body) == {"a": "é"}


@pytest.mark.parametrize(
    ("credentials", "header"),
    [
        (
            {
                "AuthorizationType": "BASIC",
                "AuthParameters": {"BasicAuthParameters": {"Username": "nelly", "Password": "pässword"}},
            },
            "Basic bmVsbHk6cMOkc3N3b3Jk",
        ),
        (
            {"AuthorizationType": "OAUTH_CLIENT_CREDENTIALS", "AuthParameters": {}, "Token": "Bearer t0ken"},
            "Bearer t0ken",
        ),
    ],
)
def test_authorizes_with_credentials(credentials: dict[str, Any], header: str) -> None:
    assert _build(credentials).headers["Authorization"] == header


def test_connection_wins_over_task() -> None:
    """Its parameters replace those of the same name in the task."""
    added = {
        "HeaderParameters": [{"Key": "X-A", "Value": "c"}],
        "QueryStringParameters": [{"Key": "q", "Value": "c"}],
        "BodyParameters": [{"Key": "password", "Value": "c", "IsValueSecret": True}],
    }
    credentials = API_KEY | {
        "AuthParameters": API_KEY["AuthParameters"] | {"InvocationHttpParameters": added}
    }

    request = _build(
        credentials,
        Headers={"X-A": "t", "X-B": "t"},
        QueryParameters={"q": "t", "r": ["1", "2"]},
        RequestBody={"password": "t", "other": 1},
    )

    assert (request.headers["X-A"], request.headers["X-B"]) == ("c", "t")
    assert request.url == "https://api.example.org/v1/events?q=c&r=1&r=2"
    assert json.loads(request.body) == {"password": "c", "other": 1}


@pytest.mark.parametrize(
    ("array_format", "body"),
    [("INDICES", b"a=x&b%5B0%5D=1&b%5B1%5D=2"), ("REPEAT", b"a=x&b=1&b=2"), ("COMMAS", b"a=x&b=1%2C2")],
)
def test_encodes_form(array_format: str, body: bytes) -> None:
    transform = {
        "RequestBodyEncoding": "URL_ENCODED",
        "RequestEncodingOptions": {"ArrayFormat": array_format},
    }

    request = _build(RequestBody={"a": "x", "b": [1, 2]}, Transform=transform)

    assert request.body == body
    assert request.headers["Content-Type"].startswith("application/x-www-form-urlencoded")


@pytest.mark.parametrize(
    "fields",
    [
        {"ApiEndpoint": "http://api.example.org/"},
        {"ApiEndpoint": "ftp://127.0.0.1:1/"},
        {"ApiEndpoint": "https://user@api.example.org/"},
        {"Method": "TRACE"},
        {"Nonsense": 1},
        {"InvocationConfig": {}},
        {"Headers": {"X-A": ["listed"]}},
        {"Headers": {"Authorization": "Bearer x"}},
        {"Headers": {"range": "bytes=0-1"}},
        {"Headers": {"If-Match": "x"}},
        {"Headers": {"X-Amz-Date": "x"}},
    ],
)
def test_refuses_invalid_arguments(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask):
        parse_task(TASK | fields)


def test_takes_older_spelling_of_connection() -> None:
    fields = {name: value for name, value in TASK.items() if name != "InvocationConfig"}

    task = parse_task(fields | {"Authentication": TASK["InvocationConfig"]})

    assert task.connection_arn == TASK["InvocationConfig"]["ConnectionArn"]
