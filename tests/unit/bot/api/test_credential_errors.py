"""What the errors of botocore's credential chain mean."""

from typing import Any

import botocore.exceptions as aws
import pytest

from bot.api.credential_errors import explain
from bot.errors import TemporaryFailure, Unauthorized


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", Unauthorized),
        (403, "ExpiredToken", Unauthorized),
        (400, "Throttling", TemporaryFailure),
        (429, "TooManyRequests", TemporaryFailure),
        (503, "ServiceUnavailable", TemporaryFailure),
    ],
)
def test_explains_sts_response(status: int, code: str, kind: type[Exception]) -> None:
    answer: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = explain(aws.ClientError(answer, "AssumeRole"))
    assert type(error) is kind
    assert (error.status, error.code) == (status, code)


@pytest.mark.parametrize(
    ("error", "kind", "match"),
    [
        (
            aws.EndpointConnectionError(endpoint_url="https://sts"),
            TemporaryFailure,
            "cannot reach the source",
        ),
        (aws.ReadTimeoutError(endpoint_url="https://sts"), TemporaryFailure, "cannot reach the source"),
        (aws.UnauthorizedSSOTokenError(), Unauthorized, "aws sso login"),
        (aws.TokenRetrievalError(provider="sso", error_msg="m"), Unauthorized, "aws sso login"),
        (aws.LoginRefreshRequired(), Unauthorized, "aws login"),
        (aws.UnknownCredentialError(name="Moon"), Unauthorized, "config files are not usable"),
        (RuntimeError("still expired"), TemporaryFailure, "returned none"),
    ],
)
def test_explains_botocore_error(error: Exception, kind: type[Exception], match: str) -> None:
    explained = explain(error)
    assert type(explained) is kind
    assert match in str(explained)
