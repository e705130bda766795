"""SigV4 as botocore computes it, over a request as it arrived: the other opinion on the bot's signatures."""

import re
from collections.abc import Mapping

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^,]+, SignedHeaders=(?P<signed>[^,]+), Signature=[0-9a-f]{64}"
)


def parse_signed_headers(authorization: str) -> list[str]:
    found = _AUTHORIZATION.fullmatch(authorization)
    assert found is not None, "not an Authorization header of Signature Version 4"
    return found["signed"].split(";")


def recompute_authorization(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    credentials: ReadOnlyCredentials,
    *,
    region: str,
) -> str:
    """Return the Authorization header that botocore gives the request that was received.

    *headers* are those on the wire, looked up whatever their case; which of them are signed is taken from
    their own Authorization.
    """
    request = AWSRequest(method, url, data=body)
    for name in parse_signed_headers(headers["Authorization"]):
        request.headers[name] = headers[name]
    request.context["timestamp"] = headers["X-Amz-Date"]
    signer = SigV4Auth(credentials, "execute-api", region)
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    return (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, "
        f"SignedHeaders={signer.signed_headers(signer.headers_to_sign(request))}, Signature={signature}"
    )
