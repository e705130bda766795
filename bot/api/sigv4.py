"""AWS Signature Version 4 for requests that this program builds itself: botocore's signer, made pure.

botocore's ``add_auth`` reads the clock, writes what it signs to the debug log, and works on botocore's own
request objects. Here its steps are taken one by one for a time that the caller gives and for a request of the
few attributes that they read; every rule of the signature stays botocore's.
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
    """Return the headers that authenticate the request, names in lower case; send them beside *headers*.

    All of it must be final: *url* is signed as it is sent, percent-encoded by the caller, and so are
    *headers* and the hash of *body*. *now* must know its time zone; a request that is more than five minutes
    off the service's clock is refused.
    """
    if now.tzinfo is None:
        raise ValueError("the time to sign with has no time zone")
    timestamp = now.astimezone(UTC).strftime(SIGV4_TIMESTAMP)
    added = {"x-amz-date": timestamp}
    if credentials.token:
        added["x-amz-security-token"] = credentials.token
    # For the type checker it would have to be an AWSRequest; the signer only reads these attributes.
    request: Any = _Request(method, url, _headers_to_sign(url, headers, added), body, timestamp)
    signer = _Signer(credentials, service, region)
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    added["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, "
        f"SignedHeaders={signer.signed_headers(request.headers)}, Signature={signature}"
    )
    return added


class _Headers(dict[str, str]):
    """What botocore reads headers from: names in lower case, values through ``get_all`` too."""

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
    """botocore would build this mapping several times for each request, out of e-mail messages."""

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
    """Return the Host header that an HTTP client sends for *url*: no user, no default port."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    return host.removesuffix(_DEFAULT_PORTS.get(parts.scheme, ":"))
