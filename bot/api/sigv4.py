"""AWS Signature Version 4: botocore's signer, made pure.

botocore's ``add_auth`` reads the clock, logs what it signs, session token included, at debug level, and needs
botocore's own request objects. Here the same steps run for a time that the caller passes, on an object with
only the attributes that they read. Every rule of the signature stays botocore's:

    canonical request    method, path, query, headers to sign, hash of the body
    string to sign       time, scope (date, region, service), hash of the canonical request
    signature            HMAC of the string to sign, under a key derived from the secret and the scope
"""

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.auth import SIGNED_HEADERS_BLACKLIST, SIGV4_TIMESTAMP, SigV4Auth
from botocore.credentials import ReadOnlyCredentials

_UNSIGNED: Final = frozenset(SIGNED_HEADERS_BLACKLIST)
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


def sign(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    credentials: ReadOnlyCredentials,
    *,
    region: str,
    now: datetime,
    service: str = "execute-api",
) -> dict[str, str]:
    """Return the headers that authenticate the request, names in lower case; send them along with *headers*.

    Everything must be final: *url* (percent-encoded), *headers* and *body* are signed as they are sent. *now*
    must have a time zone; AWS refuses a request that is more than five minutes off its own clock.
    """
    if now.tzinfo is None:
        raise ValueError("now has no time zone")
    timestamp = now.astimezone(UTC).strftime(SIGV4_TIMESTAMP)
    added = {"x-amz-date": timestamp}
    if credentials.token:
        added["x-amz-security-token"] = credentials.token
    # Typed Any because botocore's stubs ask for an AWSRequest.
    request: Any = _Request(method, url, _headers_to_sign(url, headers, added), body, timestamp)
    signer = _Signer(credentials, service, region)
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    added["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, "
        f"SignedHeaders={signer.signed_headers(request.headers)}, Signature={signature}"
    )
    return added


class _Headers(dict[str, str]):
    """Headers as botocore's signer reads them: names in lower case, and values also through ``get_all``."""

    __slots__ = ()

    def get_all(self, name: str) -> tuple[str, ...]:
        return (self[name],)


class _Request:
    """The attributes of botocore's AWSRequest that its signer reads."""

    __slots__ = ("body", "context", "headers", "method", "params", "url")

    def __init__(self, method: str, url: str, headers: _Headers, body: bytes, timestamp: str) -> None:
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.params = None
        self.context: dict[str, Any] = {"timestamp": timestamp}


class _Signer(SigV4Auth):
    """Takes the headers as prepared; botocore would build them anew, as e-mail messages, at every step."""

    def headers_to_sign(self, request: Any) -> Any:
        return request.headers


def _headers_to_sign(url: str, headers: Mapping[str, str], added: Mapping[str, str]) -> _Headers:
    signed = _Headers()
    for name, value in headers.items():
        if (lower := name.lower()) not in _UNSIGNED:
            signed[lower] = value
    signed.update(added)
    if "host" not in signed:
        signed["host"] = _host(url)
    return signed


def _host(url: str) -> str:
    """Return the Host header that an HTTP client sends for *url*: without user and default port."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    return host.removesuffix(_DEFAULT_PORTS.get(parts.scheme, ":"))
