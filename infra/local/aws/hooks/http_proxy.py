"""HTTP_PROXY integrations as in API Gateway: the exact URI and method, and all of the backend's headers.

ministack appends the request's path to the URI, follows redirects and drops every response header but one.
Request parameter mapping is still ministack's.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import yarl

from infra.local.aws.hooks.seam import Seam

_INVOKE = Seam(
    "ministack.services.apigateway",
    "_invoke_http_proxy",
    ("integration", "path", "method", "headers", "body", "query_params"),
)
SEAMS = (
    _INVOKE,
    Seam(
        "ministack.services.apigateway",
        "_apply_request_parameter_mappings",
        (
            "integration", "request_headers", "request_query", "request_path", "path_params", "context_vars",
            "stage_vars",
        ),
    ),
)  # fmt: skip

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})
# AWS does not document whether Authorization and X-Amz-* reach the backend of an AWS_IAM route. Passing them
# on is the harder case for the backend.
_NOT_FORWARDED = _HOP_BY_HOP | {"host", "content-length"}
_NOT_RETURNED = _HOP_BY_HOP | {"content-length"}

_Response = tuple[int, dict[str, str], bytes]
_UNREACHABLE: _Response = (503, {"Content-Type": "application/json"}, b'{"message":"Service Unavailable"}')


@asynccontextmanager
async def installed() -> AsyncIterator[None]:
    """Install the hook and close its connections on exit."""
    # No machine-wide proxy and no decompression: bytes pass through unchanged.
    async with aiohttp.ClientSession(
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        connector=aiohttp.TCPConnector(limit=0),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
    ) as session:

        async def invoke(
            integration: Mapping[str, Any],
            path: str,
            method: str,
            headers: Mapping[str, str],
            body: bytes,
            query_params: Mapping[str, Sequence[str]] | None,
        ) -> _Response:
            return await _forward(session, integration, path, method, headers, body, query_params or {})

        _INVOKE.replace(invoke)
        yield


async def _forward(
    session: aiohttp.ClientSession,
    integration: Mapping[str, Any],
    path: str,
    method: str,
    headers: Mapping[str, str],
    body: bytes,
    query: Mapping[str, Sequence[str]],
) -> _Response:
    url = yarl.URL(integration["integrationUri"], encoded=True)
    if "overwrite:path" in (integration.get("requestParameters") or {}):
        url = url.with_path(path, encoded=True, keep_query=True)
    url = url.extend_query([(name, value) for name, values in query.items() for value in values])
    configured = integration.get("integrationMethod", "ANY")
    timeout = aiohttp.ClientTimeout(total=integration.get("timeoutInMillis", 30_000) / 1000)
    try:
        async with session.request(
            method if configured == "ANY" else configured,
            url,
            headers={name: value for name, value in headers.items() if name.lower() not in _NOT_FORWARDED},
            data=body,
            allow_redirects=False,
            timeout=timeout,
        ) as response:
            # Repeated headers are joined, because ministack cannot send one twice.
            returned: dict[str, str] = {}
            for name, value in response.headers.items():
                if name.lower() not in _NOT_RETURNED:
                    returned[name] = f"{returned[name]}, {value}" if name in returned else value
            return response.status, returned, await response.read()
    except (aiohttp.ClientError, TimeoutError):
        # AWS puts the reason in the access log's $context.integrationErrorMessage, never in the response.
        return _UNREACHABLE
