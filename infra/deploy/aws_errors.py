"""Explains botocore's errors in one line: a sentence and the next step.

Service errors are looked up by code, errors of botocore itself by class. A service's own message is shown
only if the table has no entry, or if it says more than the entry.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import botocore.exceptions as bc

from bot.errors import RelayError

_LOG_IN: Final = "log in again (aws sso login, or wherever they came from), then run the same command again"
_KEYS: Final = "see which AWS credentials are in use with: aws configure list"

_EXPIRED: Final = f"the AWS credentials have expired: {_LOG_IN}"
_UNKNOWN_KEY: Final = f"AWS does not know these credentials, or they are not for this region: {_KEYS}"
_BAD_SIGNATURE: Final = (
    "AWS refuses the signature: the secret access key is wrong, or this machine's clock is off by minutes; "
    f"{_KEYS}, and check the clock"
)
_DENIED: Final = "add this permission to the caller's policies, or name another profile with --profile"
_THROTTLED: Final = (
    "AWS still throttles these requests after several retries: wait a minute, then run the same command again"
)
_UNAVAILABLE: Final = "AWS reports an internal error: wait a minute, then run the same command again"

_BY_CODE: Final[Mapping[str, str]] = {
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"), _EXPIRED),
    **dict.fromkeys(
        (
            *("InvalidClientTokenId", "InvalidAccessKeyId", "UnrecognizedClientException"),
            *("AuthFailure", "InvalidToken", "MissingAuthenticationToken"),
        ),
        _UNKNOWN_KEY,
    ),
    **dict.fromkeys(
        (
            *("SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature"),
            *("RequestExpired", "RequestTimeTooSkewed"),
        ),
        _BAD_SIGNATURE,
    ),
    "OptInRequired": (
        "the region is not enabled for this account: enable it, or name another one with --region"
    ),
    **dict.fromkeys(
        (
            *("Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled"),
            *("RequestLimitExceeded", "TooManyRequestsException", "SlowDown"),
        ),
        _THROTTLED,
    ),
    **dict.fromkeys(("InternalFailure", "InternalError", "ServiceUnavailable", "503"), _UNAVAILABLE),
}

_DENIED_CODES: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized", "403"}
)
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
_NOT_AUTHORIZED: Final = re.compile(
    r"(?:User|Principal): (?P<who>\S+) is not authorized to perform: (?P<action>[\w:*-]+)"
    r"(?: on resource: (?P<resource>[^\s,]+))?"
)

# The first matching row wins.
_BY_KIND: Final[tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...]] = (
    (
        bc.NoCredentialsError,
        "no AWS credentials found: set some up with aws configure, or name a profile with --profile",
    ),
    (
        bc.PartialCredentialsError,
        "the AWS credentials are incomplete: give both the access key id and the secret access key",
    ),
    (
        (bc.UnauthorizedSSOTokenError, bc.SSOTokenLoadError, bc.TokenRetrievalError, bc.NoAuthTokenError),
        f"the AWS single sign-on session is missing or has expired: {_LOG_IN}",
    ),
    (
        (bc.LoginRefreshRequired, bc.LoginTokenLoadError, bc.LoginError),
        "the AWS login session is missing or has expired: run aws login, then the same command again",
    ),
    (
        (bc.CredentialRetrievalError, bc.MetadataRetrievalError),
        f"the AWS credentials could not be fetched from their source: {_KEYS}",
    ),
    (bc.ProfileNotFound, "there is no such AWS profile: list them with aws configure list-profiles"),
    (
        bc.NoRegionError,
        "no AWS region is set: name one with --region, like --region eu-central-1",
    ),
    (bc.InvalidRegionError, "this is not a valid region name: name one with --region, like eu-central-1"),
    (
        (bc.EndpointConnectionError, bc.ConnectTimeoutError, bc.ProxyConnectionError),
        "AWS cannot be reached there: check the region's name and the network",
    ),
    (
        bc.SSLError,
        "the connection to AWS is not trusted: a proxy's certificate may have to be set in AWS_CA_BUNDLE",
    ),
    (bc.HTTPClientError, "the connection to AWS broke: check the network, then run the same command again"),
    ((bc.ConfigParseError, bc.ConfigNotFound), f"AWS's configuration file cannot be read: {_KEYS}"),
)

# Ids that services append to a message for their own support.
_NOISE: Final = re.compile(
    r"\s*\((?=[^()]*(?:Request ?(?:ID|Token)|HandlerErrorCode|Status Code|SDK Attempt Count))[^()]*\)",
    re.IGNORECASE,
)


class DeployError(RelayError):
    """A deployment or deletion failed; the message is one line and names the next step."""


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn botocore's errors in the block into a DeployError that begins with *what*."""
    try:
        yield
    except (bc.ClientError, bc.BotoCoreError) as error:
        raise DeployError(f"{what}: {explain(error)}") from error


def explain(error: Exception) -> str:
    """Return a sentence and a next step for botocore's *error*."""
    if isinstance(error, bc.ClientError):
        return _explain_client_error(error)
    for kind, sentence in _BY_KIND:
        if isinstance(error, kind):
            return sentence
    return one_line(str(error))


def one_line(reason: str) -> str:
    """Return a service's *reason* on one line, without the ids meant for its support."""
    return " ".join(_NOISE.sub("", reason).split())


def error_code(error: bc.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _explain_client_error(error: bc.ClientError) -> str:
    details: Mapping[str, Any] = error.response.get("Error", {})
    code, message = str(details.get("Code", "")), one_line(str(details.get("Message", "")))
    if code in _DENIED_CODES:
        return f"{_denied(error.operation_name, message)}: {_DENIED}"
    if code in _BY_CODE:
        return _BY_CODE[code]
    # The code ValidationError adds nothing to its message.
    return message if code == "ValidationError" and message else f"{error.operation_name}: {code}: {message}"


def _denied(operation: str, message: str) -> str:
    found = _NOT_AUTHORIZED.search(message)
    if found is None:
        return f"AWS denies {operation}"
    resource = f" on {found['resource']}" if found["resource"] else ""
    return f"{found['who']} may not {found['action']}{resource}"
