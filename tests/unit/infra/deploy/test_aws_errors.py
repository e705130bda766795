"""Errors of AWS are explained in one line with the next step."""

import botocore.exceptions as bc
import pytest

from infra.deploy.aws_errors import DeployError, explain, explained, one_line

ANN = "arn:aws:iam::1:user/ann"
STACK = "arn:aws:cloudformation:eu-central-1:1:stack/relay/*"


def _refusal(code: str, message: str = "", operation: str = "DescribeStacks") -> bc.ClientError:
    return bc.ClientError({"Error": {"Code": code, "Message": message}}, operation)


@pytest.mark.parametrize(
    ("error", "sentence", "next_step"),
    [
        (_refusal("ExpiredToken", "The security token"), "have expired", "aws sso login"),
        (_refusal("ExpiredTokenException"), "have expired", "log in again"),
        (_refusal("InvalidClientTokenId"), "does not know these credentials", "aws configure list"),
        (_refusal("UnrecognizedClientException"), "not for this region", "aws configure list"),
        (_refusal("SignatureDoesNotMatch"), "secret access key is wrong", "check the clock"),
        (_refusal("RequestExpired"), "clock is off", "check the clock"),
        (_refusal("OptInRequired"), "region is not enabled", "--region"),
        (_refusal("Throttling", "Rate exceeded"), "throttles", "wait a minute"),
        (_refusal("ServiceUnavailable"), "internal error", "wait a minute"),
        (
            _refusal(
                "AccessDenied",
                f"User: {ANN} is not authorized to perform: cloudformation:CreateChangeSet "
                f"on resource: {STACK} because no identity-based policy allows it",
            ),
            f"{ANN} may not cloudformation:CreateChangeSet on {STACK}: add this permission",
            "--profile",
        ),
        (
            _refusal("AccessDeniedException", "", operation="GetSecretValue"),
            "AWS denies GetSecretValue",
            "--profile",
        ),
        (bc.NoCredentialsError(), "no AWS credentials", "aws configure"),
        (bc.PartialCredentialsError(provider="env", cred_var="b"), "incomplete", "give both"),
        (bc.UnauthorizedSSOTokenError(), "single sign-on session is missing", "aws sso login"),
        (bc.SSOTokenLoadError(error_msg="gone"), "single sign-on", "aws sso login"),
        (bc.LoginRefreshRequired(), "login session is missing", "aws login"),
        (
            bc.CredentialRetrievalError(provider="x", error_msg="y"),
            "could not be fetched",
            "aws configure list",
        ),
        (bc.ProfileNotFound(profile="x"), "no such AWS profile", "aws configure list-profiles"),
        (bc.NoRegionError(), "no AWS region", "--region"),
        (bc.InvalidRegionError(region_name="eu/1"), "not a valid region name", "--region"),
        (bc.EndpointConnectionError(endpoint_url="https://x"), "cannot be reached", "region's name"),
        (bc.ConnectTimeoutError(endpoint_url="https://x"), "cannot be reached", "network"),
        (bc.SSLError(endpoint_url="https://x", error=OSError("e")), "not trusted", "AWS_CA_BUNDLE"),
        (bc.ReadTimeoutError(endpoint_url="https://x"), "broke", "same command again"),
    ],
    ids=lambda value: value.__class__.__name__ if isinstance(value, Exception) else "",
)
def test_explains_error_with_next_step(error: Exception, sentence: str, next_step: str) -> None:
    text = explain(error)

    assert sentence in text
    assert next_step in text
    assert "\n" not in text


def test_validation_error_keeps_service_message() -> None:
    assert explain(_refusal("ValidationError", "Parameters: [X]\n must have values")) == (
        "Parameters: [X] must have values"
    )


def test_unknown_code_keeps_operation_and_code() -> None:
    assert explain(_refusal("Odd", "because")) == "DescribeStacks: Odd: because"


def test_unknown_botocore_error_is_one_line() -> None:
    assert explain(bc.ParamValidationError(report="a\nb")) == "Parameter validation failed: a b"


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("No (Service: Iam, Status Code: 409, Request ID: 8a7) (SDK Attempt Count: 1)", "No"),
        (
            "No (Service: AmazonApiGatewayV2; Status Code: 400; Error Code: X; Request ID: 1; Proxy: null)",
            "No",
        ),
        ("a (with reason)\n b", "a (with reason) b"),
    ],
)
def test_strips_support_ids(reason: str, shown: str) -> None:
    assert one_line(reason) == shown


def test_converts_only_botocore_errors() -> None:
    with (
        pytest.raises(DeployError, match=r"^stack relay: no AWS credentials found"),
        explained("stack relay"),
    ):
        raise bc.NoCredentialsError
    with pytest.raises(KeyError), explained("stack relay"):
        raise KeyError
