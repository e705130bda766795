"""What AWS refuses, said as a sentence and the next step, on one line.

What a service answers is told apart by its code, and what keeps botocore from asking at all by its kind; each
has a row in a table here. The words of a service come along only where they say more than the row does.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import botocore.exceptions as bc

from bot.errors import RelayError

_LOG_IN: Final = "log in again (aws sso login, or whatever gave them out), then run the same command again"
_KEYS: Final = "see which AWS credentials are in force with: aws configure list"

_EXPIRED: Final = f"the AWS credentials have expired: {_LOG_IN}"
_UNKNOWN_KEY: Final = f"AWS does not know these credentials, or they are not for this region: {_KEYS}"
_BAD_SIGNATURE: Final = (
    "AWS refuses the signature: the secret access key is wrong, or this machine's clock is off by minutes; "
    f"{_KEYS}, and see the clock"
)
_DENIED: Final = "have this permission added to the caller's policies, or name another profile with --profile"
_THROTTLED: Final = (
    "AWS throttles these requests, and went on to after several tries: wait a minute, then run the same "
    "command again"
)
_UNAVAILABLE: Final = "AWS itself is in trouble: wait a minute, then run the same command again"

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
        "the account has not turned this region on: turn it on, or name another one with --region"
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

# The first row that an error is an instance of counts.
_BY_KIND: Final[tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...]] = (
    (
        bc.NoCredentialsError,
        "there are no AWS credentials: set some up with aws configure, or name a profile with --profile",
    ),
    (
        bc.PartialCredentialsError,
        "the AWS credentials are incomplete: give both the access key id and the secret access key",
    ),
    (
        (bc.UnauthorizedSSOTokenError, bc.SSOTokenLoadError, bc.TokenRetrievalError, bc.NoAuthTokenError),
        f"the AWS single sign-on has expired or was not made: {_LOG_IN}",
    ),
    (
        (bc.LoginRefreshRequired, bc.LoginTokenLoadError, bc.LoginError),
        "the AWS sign-in has expired or was not made: run aws login, then the same command again",
    ),
    (
        (bc.CredentialRetrievalError, bc.MetadataRetrievalError),
        f"the AWS credentials could not be had from where they are kept: {_KEYS}",
    ),
    (bc.ProfileNotFound, "there is no such AWS profile: aws configure list-profiles names them all"),
    (
        bc.NoRegionError,
        "no AWS region is named: name one with --region, like --region eu-central-1",
    ),
    (bc.InvalidRegionError, "this is not the name of a region: name one with --region, like eu-central-1"),
    (
        (bc.EndpointConnectionError, bc.ConnectTimeoutError, bc.ProxyConnectionError),
        "AWS cannot be reached there: see whether the region's name is right and the network is up",
    ),
    (
        bc.SSLError,
        "the connection to AWS is not trusted: a proxy may need its certificate named in AWS_CA_BUNDLE",
    ),
    (bc.HTTPClientError, "the connection to AWS broke: see the network, then run the same command again"),
    ((bc.ConfigParseError, bc.ConfigNotFound), f"AWS's configuration file cannot be read: {_KEYS}"),
)

# What services put behind a reason for their own support, not for whoever reads it.
_NOISE: Final = re.compile(
    r"\s*\((?=[^()]*(?:Request ?(?:ID|Token)|HandlerErrorCode|Status Code|SDK Attempt Count))[^()]*\)",
    re.IGNORECASE,
)


class DeployError(RelayError):
    """A stack could not be brought to where it should be; the text is one line and names the next step."""


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn what botocore raises in the block into a DeployError that begins with *what*."""
    try:
        yield
    except (bc.ClientError, bc.BotoCoreError) as error:
        raise DeployError(f"{what}: {explain(error)}") from error


def explain(error: Exception) -> str:
    """Return *error*, which botocore raised, as a sentence and a next step."""
    if isinstance(error, bc.ClientError):
        return _explain_answer(error)
    for kind, sentence in _BY_KIND:
        if isinstance(error, kind):
            return sentence
    return one_line(str(error))


def one_line(reason: str) -> str:
    """Return a service's *reason* on one line, without the ids that only its support can use."""
    return " ".join(_NOISE.sub("", reason).split())


def error_code(error: bc.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _explain_answer(error: bc.ClientError) -> str:
    details: Mapping[str, Any] = error.response.get("Error", {})
    code, message = str(details.get("Code", "")), one_line(str(details.get("Message", "")))
    if code in _DENIED_CODES:
        return f"{_denied(error.operation_name, message)}: {_DENIED}"
    if code in _BY_CODE:
        return _BY_CODE[code]
    # The code of a mistake in what was asked for says nothing that its message does not.
    return message if code == "ValidationError" and message else f"{error.operation_name}: {code}: {message}"


def _denied(operation: str, message: str) -> str:
    found = _NOT_AUTHORIZED.search(message)
    if found is None:
        return f"AWS refuses {operation}"
    resource = f" on {found['resource']}" if found["resource"] else ""
    return f"{found['who']} may not {found['action']}{resource}"
