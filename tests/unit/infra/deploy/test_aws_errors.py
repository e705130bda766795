"""What AWS refuses is a sentence and a next step, on one line."""

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
        (_refusal("SignatureDoesNotMatch"), "secret access key is wrong", "see the clock"),
        (_refusal("RequestExpired"), "clock is off", "see the clock"),
        (_refusal("OptInRequired"), "not turned this region on", "--region"),
        (_refusal("Throttling", "Rate exceeded"), "throttles", "wait a minute"),
        (_refusal("ServiceUnavailable"), "in trouble", "wait a minute"),
        (
            _refusal(
                "AccessDenied",
                f"User: {ANN} is not authorized to perform: cloudformation:CreateChangeSet "
                f"on resource: {STACK} because no identity-based policy allows it",
            ),
            f"{ANN} may not cloudformation:CreateChangeSet on {STACK}: have this permission added",
            "--profile",
        ),
        (
            _refusal("AccessDeniedException", "", operation="GetSecretValue"),
            "AWS refuses GetSecretValue",
            "--profile",
        ),
        (bc.NoCredentialsError(), "no AWS credentials", "aws configure"),
        (bc.PartialCredentialsError(provider="env", cred_var="b"), "incomplete", "give both"),
        (bc.UnauthorizedSSOTokenError(), "single sign-on has expired", "aws sso login"),
        (bc.SSOTokenLoadError(error_msg="gone"), "single sign-on", "aws sso login"),
        (bc.LoginRefreshRequired(), "sign-in has expired", "aws login"),
        (bc.CredentialRetrievalError(provider="x", error_msg="y"), "could not be had", "aws configure list"),
        (bc.ProfileNotFound(profile="x"), "no such AWS profile", "aws configure list-profiles"),
        (bc.NoRegionError(), "no AWS region", "--region"),
        (bc.InvalidRegionError(region_name="eu/1"), "not the name of a region", "--region"),
        (bc.EndpointConnectionError(endpoint_url="https://x"), "cannot be reached", "region's name"),
        (bc.ConnectTimeoutError(endpoint_url="https://x"), "cannot be reached", "network"),
        (bc.SSLError(endpoint_url="https://x", error=OSError("e")), "not trusted", "AWS_CA_BUNDLE"),
        (bc.ReadTimeoutError(endpoint_url="https://x"), "broke", "same command again"),
    ],
    ids=lambda value: value.__class__.__name__ if isinstance(value, Exception) else "",
)
def test_every_refusal_has_a_sentence_and_a_next_step(
    error: Exception, sentence: str, next_step: str
) -> None:
    text = explain(error)

    assert sentence in text
    assert next_step in text
    assert "\n" not in text


def test_a_mistake_in_what_was_asked_is_told_in_the_services_words() -> None:
    assert explain(_refusal("ValidationError", "Parameters: [X]\n must have values")) == (
        "Parameters: [X] must have values"
    )


def test_what_has_no_row_keeps_its_operation_and_code() -> None:
    assert explain(_refusal("Odd", "because")) == "DescribeStacks: Odd: because"


def test_an_error_of_botocores_without_a_row_is_one_line() -> None:
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
def test_ids_for_the_services_support_are_left_out(reason: str, shown: str) -> None:
    assert one_line(reason) == shown


def test_only_botocores_errors_are_turned() -> None:
    with (
        pytest.raises(DeployError, match=r"^stack relay: there are no AWS credentials"),
        explained("stack relay"),
    ):
        raise bc.NoCredentialsError
    with pytest.raises(KeyError), explained("stack relay"):
        raise KeyError
