"""AWS Signature Version 4, as botocore computes it, in a fraction of the time.

botocore's ``add_auth`` reads the clock, logs what it signs, session token included, at debug level, and
builds several objects for each request. Here the time is the caller's, and what depends only on the URL, or
on the secret and the day, is computed once. How a path and a query are normalised stays botocore's.

    canonical request    method, path, query, headers to sign, hash of the body
    string to sign       time, scope (date, region, service), hash of the canonical request
    signature            HMAC of the string to sign, under a key derived from the secret and the scope
"""

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.auth import SIGNED_HEADERS_BLACKLIST, SIGV4_TIMESTAMP, SigV4Auth
from botocore.credentials import ReadOnlyCredentials

_UNSIGNED: Final = frozenset(SIGNED_HEADERS_BLACKLIST)
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
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
    signed = _headers_to_sign(url, headers, added)
    names = sorted(signed)
    signed_headers = ";".join(names)
    lines = "".join([f"{name}:{' '.join(signed[name].split())}\n" for name in names])
    body_hash = hashlib.sha256(body).hexdigest()
    canonical = f"{_request_line(method, url)}\n{lines}\n{signed_headers}\n{body_hash}"
    scope = f"{timestamp[:8]}/{region}/{service}/aws4_request"
    to_sign = f"{_ALGORITHM}\n{timestamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = _begin_signature(credentials.secret_key, scope).copy()
    signature.update(to_sign.encode())
    added["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={signed_headers}, Signature={signature.hexdigest()}"
    )
    return added


@lru_cache(maxsize=64)
def _request_line(method: str, url: str) -> str:
    """Return the method, the path and the query of the canonical request."""
    # Typed Any because botocore's stubs ask for an AWSRequest.
    request: Any = SimpleNamespace(method=method, url=url, params=None, headers={}, body=b"", context={})
    signer = SigV4Auth(ReadOnlyCredentials("", "", None), "", "")
    return "\n".join(signer.canonical_request(request).split("\n", 3)[:3])


@lru_cache(maxsize=4)
def _begin_signature(secret_key: str, scope: str) -> hmac.HMAC:
    """Return the HMAC of nothing yet, under the key of a day, a region and a service; to be copied."""
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, digestmod="sha256")


def _headers_to_sign(url: str, headers: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    signed: dict[str, str] = {}
    for name, value in headers.items():
        if (lower := name.lower()) not in _UNSIGNED:
            signed[lower] = value
    signed.update(added)
    if "host" not in signed:
        signed["host"] = host_header(url)
    return signed


@lru_cache(maxsize=64)
def host_header(url: str) -> str:
    """Return the Host header that an HTTP client sends for *url*: without user and default port."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    return host.removesuffix(_DEFAULT_PORTS.get(parts.scheme, ":"))
