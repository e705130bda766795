"""Signed requests from ministack to itself, in process instead of over a socket.

A service acting for a role uses the role's temporary credentials and passes the same authorisation as an
outside client, so the role's own policy decides whether the request is allowed.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import botocore.auth
import botocore.awsrequest
import botocore.credentials

from infra.local.aws.credentials import Credentials


@dataclass(frozen=True)
class Response:
    """A complete response; header names are in lower case, repeated headers are separate entries."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def sign(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    service: str,
    region: str,
    who: Credentials,
) -> dict[str, str]:
    """Return the request's headers with ``Host`` and the SigV4 signature."""
    request = botocore.awsrequest.AWSRequest(method=method, url=url, data=body, headers=dict(headers))
    credentials = botocore.credentials.Credentials(
        who.access_key_id, who.secret_access_key, who.session_token
    )
    botocore.auth.SigV4Auth(credentials, service, region).add_auth(request)
    return {"Host": urlsplit(url).netloc, **dict(request.headers.items())}


class AsgiClient:
    """Calls ministack's ASGI application on its own event loop."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._loop = asyncio.get_running_loop()

    async def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Send the request unchanged; *url* is the signed one."""
        # In a task of its own, because ministack keeps the caller's identity in context variables.
        return await asyncio.create_task(self._call(method, url, headers, body))

    def request_from_thread(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Send the request from a thread outside the event loop."""
        return asyncio.run_coroutine_threadsafe(self.request(method, url, headers, body), self._loop).result()

    async def _call(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        parts = urlsplit(url)
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": parts.scheme,
            "path": unquote(parts.path),
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "headers": [(name.lower().encode(), str(value).encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 0),
        }
        start: dict[str, Any] = {}
        chunks: list[bytes] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                chunks.append(message.get("body", b""))

        await self._app(scope, receive, send)
        received = [(name.decode().lower(), value.decode()) for name, value in start["headers"]]
        return Response(start["status"], received, b"".join(chunks))
