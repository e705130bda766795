"""The ingress API: signed requests that start executions, and ask about them."""

import os
import socket
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, TypeVar, cast

import aiohttp
import yarl

from bot.api.responses import parse_response
from bot.api.sigv4 import sign
from bot.api.target import SigningCredentials
from bot.errors import TemporaryFailure, Unauthorized

TIMEOUT_S: Final = 35.0
"""For a whole request: API Gateway itself gives up after 30 s."""
_CONNECT_TIMEOUT_S = 10.0
_KEEP_ALIVE_S = 55.0
_NEXT_STEP: Final = "see whether VOICE_RELAY_API_ENDPOINT is right and the network is up"
_RESPONSE_MAX_BYTES = 64 * 1024

_T = TypeVar("_T")
Parse = Callable[[int, Mapping[str, str], bytes, datetime], _T]
"""Makes something of a response's status, headers and body at a time, or raises a DeliveryError."""


class Ingress:
    """Speaks to the API at *endpoint*; open it as a context manager.

    Every request is signed anew, with credentials asked for at that moment and the time of *utc_now*.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        region: str,
        credentials: SigningCredentials,
        max_connections: int,
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._region = region
        self._credentials = credentials
        self._utc_now = utc_now
        self._max_connections = max_connections
        self._urls: dict[str, yarl.URL] = {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Ingress":
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._max_connections, keepalive_timeout=_KEEP_ALIVE_S),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S, sock_connect=_CONNECT_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def start(self, workflow: str, name: str, body: bytes) -> str:
        """Return the ARN of the execution *name*, started now or by an earlier attempt with the same *body*.

        Raises a DeliveryError. After a TemporaryFailure it is not known whether the request arrived; sending
        the same name and body again is safe.
        """
        return await self.post(f"/workflows/{workflow}", body, parse_response, execution=name)

    async def post(
        self,
        path: str,
        body: bytes,
        parse: Parse[_T],
        *,
        execution: str | None = None,
        response_max_bytes: int = _RESPONSE_MAX_BYTES,
    ) -> _T:
        """Return what *parse* makes of the response; raises its DeliveryError, or a TemporaryFailure.

        *execution* is the name of the execution that is to be started. What a response has beyond
        *response_max_bytes* is not read.
        """
        if self._session is None:
            raise RuntimeError("the ingress is not open")
        url = self._url(path)
        credentials = await self._credentials.get()
        headers = {"content-type": "application/json"}
        if execution is not None:
            headers["execution-name"] = execution
        signed = sign("POST", str(url), headers, body, credentials, region=self._region, now=self._utc_now())
        try:
            # A redirect would lead the signature, and the body, somewhere else.
            async with self._session.post(
                url, data=body, headers={**headers, **signed}, allow_redirects=False
            ) as response:
                answer = await _read(response.content, response_max_bytes)
        except TimeoutError:
            raise TemporaryFailure("the API did not answer in time", code="Timeout") from None
        except (aiohttp.ClientError, OSError) as error:
            raise TemporaryFailure(
                f"the API cannot be reached: {explain_failure(error)}", code=type(error).__name__
            ) from error
        try:
            return parse(response.status, response.headers, answer, self._utc_now())
        except Unauthorized:
            # A profile or a session may have been renewed on disk since these were read.
            self._credentials.forget()
            raise

    def _url(self, path: str) -> yarl.URL:
        url = self._urls.get(path)
        if url is None:
            # Taken as it is: what is signed and what is sent must be the same to the byte.
            url = yarl.URL(self._endpoint + path, encoded=True)
            self._urls[path] = url
        return url


def explain_failure(error: Exception) -> str:
    """Return why there was no answer; where there was not even a connection, with the next step."""
    if not isinstance(error, aiohttp.ClientConnectorError):
        return str(error) or type(error).__name__
    reason = _reason_of(error)
    # The numbers of a name's look-up and of TLS are not those of the system.
    of_the_system = reason.errno if not isinstance(reason, socket.gaierror | ssl.SSLError) else None
    text = os.strerror(of_the_system) if of_the_system else reason.strerror or str(reason)
    return f"{error.host}:{error.port}: {text}; {_NEXT_STEP}"


def _reason_of(error: aiohttp.ClientConnectorError) -> OSError:
    """Return what the system said; of a certificate that does not hold, what TLS did."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return cast("OSError", error.certificate_error)
    return error.os_error


async def _read(content: aiohttp.StreamReader, max_bytes: int) -> bytes:
    """Return the whole body, which may come in pieces, or as much of it as anybody needs."""
    answer = bytearray()
    while len(answer) < max_bytes and (piece := await content.readany()):
        answer += piece
    return bytes(answer)
