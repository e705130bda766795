"""Evaluating the selection expressions of an integration."""

import pytest

from infra.local.aws.hooks.parameter_mapping import Request, SelectionFailed, select

REQUEST = Request(
    headers={"execution-name": "abc", "x-list": "a,b"},
    query={"q": ["1", "2"]},
    path={"workflow": "notify"},
    body='{"id": "x", "n": 1.5, "deep": {"list": ["a", {"b": "é"}]}, "nothing": null}'.encode(),
    context={"stage": "$default", "identity.userArn": "arn:aws:iam::1:user/ops"},
)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("static text", "static text"),
        ("$request.header.execution-name", "abc"),
        ("$request.header.Execution-Name", "abc"),
        ("$request.querystring.q", "1,2"),
        ("$request.path.workflow", "notify"),
        ("$context.stage", "$default"),
        ("stopped by ${context.identity.userArn}", "stopped by arn:aws:iam::1:user/ops"),
        ("$request.body", REQUEST.body.decode()),
        ("$request.body.id", "x"),
        ("$request.body.n", "1.5"),
        ("$request.body.deep.list[0]", "a"),
        ("$request.body.deep.list[1].b", "é"),
        ("$request.body.deep.list[1]", '{"b": "\\u00e9"}'),
        ("$request.body.nothing", "null"),
        ("pre-${request.path.workflow}-${request.header.execution-name}", "pre-notify-abc"),
    ],
)
def test_evaluates_expression(expression: str, value: str) -> None:
    assert select(expression, REQUEST) == value


@pytest.mark.parametrize(
    "expression",
    [
        "$request.header.missing",
        "$request.querystring.missing",
        "$request.path.missing",
        "$request.body.missing",
        "$request.body.deep.list[7]",
        "$request.body.id.deeper",
        "$context.authorizer",
        "$nonsense",
        "a ${request.header.missing} b",
    ],
)
def test_fails_without_match(expression: str) -> None:
    """There are no default values."""
    with pytest.raises(SelectionFailed):
        select(expression, REQUEST)


@pytest.mark.parametrize("body", [b"", b"not json", b"\xff\xfe"])
def test_fails_on_invalid_json_body(body: bytes) -> None:
    with pytest.raises(SelectionFailed):
        select("$request.body.id", Request({}, {}, {}, body, {}))


def test_fails_on_undecodable_body() -> None:
    with pytest.raises(SelectionFailed):
        select("$request.body", Request({}, {}, {}, b"\xff", {}))


def test_truncates_body_before_selecting() -> None:
    """Selections see the first 100 KiB of the body; the whole body is not cut."""
    body = b'{"padding": "' + b"x" * 102_400 + b'", "id": "late"}'
    request = Request({}, {}, {}, body, {})

    assert select("$request.body", request) == body.decode()
    with pytest.raises(SelectionFailed):
        select("$request.body.id", request)
