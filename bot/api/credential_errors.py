"""What an error of botocore's credential chain means: pure.

The first line of the table that matches decides what the relay does, and what it tells the operator to do.
botocore's own message is dropped, because it can quote the output of a process or the answer of an endpoint.
"""

from typing import Final

import botocore.exceptions as aws

from bot.api.quote import quote
from bot.errors import DeliveryError, TemporaryFailure, Unauthorized

_NONE_FOUND: Final = (
    "no AWS credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (with SSO, "
    "after `aws sso login`), or run with a container's or an instance's role"
)
_INCOMPLETE: Final = "incomplete AWS credentials: set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_SSO: Final = "the AWS SSO session is missing or has expired: run `aws sso login` for the profile"
_LOGIN: Final = "the AWS login session is missing or has expired: run `aws login` for the profile"
_PROFILE: Final = "AWS_PROFILE names a profile that is not in the AWS config files: correct or unset it"
_CONFIG: Final = "the AWS config files are not usable: check ~/.aws/config and ~/.aws/credentials"
_REFUSED: Final = "AWS refused the role: check its trust policy and the credentials that assume it"
_NO_ANSWER: Final = (
    "the source of the AWS credentials returned none: check the container's or instance's role, or run the "
    "profile's credential_process by hand"
)
_UNREACHABLE: Final = "cannot reach the source of the AWS credentials"

_CODE_MAX_CHARS: Final = 100

_TABLE: Final[tuple[tuple[type[Exception], type[DeliveryError], str], ...]] = (
    (aws.ProfileNotFound, Unauthorized, _PROFILE),
    (aws.NoCredentialsError, Unauthorized, _NONE_FOUND),
    (aws.PartialCredentialsError, Unauthorized, _INCOMPLETE),
    (aws.SSOError, Unauthorized, _SSO),
    (aws.TokenRetrievalError, Unauthorized, _SSO),
    (aws.LoginError, Unauthorized, _LOGIN),
    (aws.ConfigNotFound, Unauthorized, _CONFIG),
    (aws.ConfigParseError, Unauthorized, _CONFIG),
    (aws.InvalidConfigError, Unauthorized, _CONFIG),
    (aws.UnknownCredentialError, Unauthorized, _CONFIG),
    (aws.RefreshWithMFAUnsupportedError, Unauthorized, _CONFIG),
    (aws.ConnectionError, TemporaryFailure, _UNREACHABLE),
    (aws.HTTPClientError, TemporaryFailure, _UNREACHABLE),
    # Providers run other programs and parse what these return, so they may raise anything.
    (Exception, TemporaryFailure, _NO_ANSWER),
)


def explain(error: Exception) -> DeliveryError:
    """Return the DeliveryError for *error*, without its text."""
    if isinstance(error, aws.ClientError):
        return _explain_response(error)
    for kind, meaning, text in _TABLE:
        if isinstance(error, kind):
            return meaning(text, code=type(error).__name__)
    raise TypeError("the last line of the table matches every Exception")


def _explain_response(error: aws.ClientError) -> DeliveryError:
    """Return the DeliveryError for what STS or SSO answered."""
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) or None
    code = quote(str(error.response.get("Error", {}).get("Code", "")), max_chars=_CODE_MAX_CHARS)
    if status is None or status == 429 or status >= 500 or "Throttl" in code:
        return TemporaryFailure(_UNREACHABLE, status=status, code=code)
    return Unauthorized(f"{_REFUSED} ({code})", status=status, code=code)
