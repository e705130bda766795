"""The HTTP client of the ingress API: it signs, sends, and reads responses.

Three hops to the socket: ``start`` names the route, ``post`` signs, ``Exchange`` sends. What a response means
is decided in ``responses``, which is pure.
"""

import os
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, TypeVar, cast

import aiohttp
import yarl

from bot.api.exchange import Exchange
from bot.api.quote import quote
from bot.api.responses import parse_start
from bot.api.sigv4 import host_header, sign
from bot.api.target import Target
from bot.errors import TemporaryFailure, Unauthorized

TIMEOUT_S: Final = 35.0
"""For a whole request; API Gateway's own limit is 30 s."""
_RESPONSE_MAX_BYTES: Final = 64 * 1024
_REMEDY: Final = "check VOICE_RELAY_API_ENDPOINT and the network"

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})

_T = TypeVar("_T")
Parse = Callable[[int, Mapping[str, str], bytes, datetime, Sequence[str]], _T]
"""Parses a response: its status, headers and body, the time it arrived, and the secrets of its request, which
no result may repeat; raises a DeliveryError."""


class ApiClient:
    """Sends signed requests to the ingress API of *target*; open it as a context manager.

    Every request is signed with the credentials and the time of that moment. *max_connections* is 0 for no
    bound. *service* is the one to sign for, where *target* is another service's address. A request takes at
    most *timeout_s*, by default TIMEOUT_S.
    """

    def __init__(
        self,
        target: Target,
        *,
        max_connections: int,
        service: str = "execute-api",
        timeout_s: float | None = None,
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._endpoint = target.endpoint.rstrip("/")
        self._region = target.region
        self._credentials = target.credentials
        self._service = service
        self._timeout_s = TIMEOUT_S if timeout_s is None else timeout_s
        self._utc_now = utc_now
        self._max_connections = max_connections
        self._urls: dict[str, yarl.URL] = {}
        self._exchange: Exchange | None = None

    async def __aenter__(self) -> "ApiClient":
        self._exchange = Exchange(max_connections=self._max_connections, timeout_s=self._timeout_s)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._exchange is not None:
            await self._exchange.close()

    async def start(self, workflow: str, name: str, body: bytes) -> str:
        """Start the execution *name* of *workflow* with *body* as its input, and return its ARN.

        Raises a DeliveryError. A TemporaryFailure may leave open whether the request was accepted; sending
        the same name and body again is safe, since Step Functions starts them once.
        """
        return await self.post(f"/workflows/{workflow}", body, parse_start, headers={"execution-name": name})

    async def post(
        self,
        path: str,
        body: bytes,
        parse: Parse[_T],
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        response_max_bytes: int = _RESPONSE_MAX_BYTES,
    ) -> _T:
        """Send *body* to *path* and return the response as *parse* reads it; raises a DeliveryError.

        *headers* have names in lower case. At most *response_max_bytes* of the response are read.
        """
        if self._exchange is None:
            raise RuntimeError("the API client is not open")
        url = self._url(path)
        sent = await self._sign(url, body, headers)
        try:
            # Never redirected: the signature and the body would go to another host.
            answer = await self._exchange.post(url, sent, body, answer_max_bytes=response_max_bytes)
        except TimeoutError as error:
            connected = not isinstance(error, aiohttp.ConnectionTimeoutError)
            text = "the API did not answer in time"
            raise TemporaryFailure(text, code="Timeout", outcome_unknown=connected) from None
        except (aiohttp.ClientError, OSError) as error:
            raise TemporaryFailure(
                f"cannot reach the API: {quote(explain_failure(error), _secrets(sent))}",
                code=type(error).__name__,
                outcome_unknown=not isinstance(error, aiohttp.ClientConnectorError),
            ) from error
        try:
            return parse(*answer, self._utc_now(), _secrets(sent))
        except Unauthorized:
            # The profile or the SSO session may have been renewed on disk since.
            self._credentials.forget()
            raise

    async def _sign(self, url: yarl.URL, body: bytes, given: Mapping[str, str]) -> dict[str, str]:
        """Return the request's headers, the signature among them."""
        credentials = await self._credentials.get()
        headers = {"host": host_header(str(url)), "content-type": "application/json", **given}
        signed = sign(
            "POST",
            str(url),
            headers,
            body,
            credentials,
            region=self._region,
            now=self._utc_now(),
            service=self._service,
        )
        return {**headers, **signed}

    def _url(self, path: str) -> yarl.URL:
        url = self._urls.get(path)
        if url is None:
            # Encoded already: the URL must be sent exactly as it is signed.
            url = yarl.URL(self._endpoint + path, encoded=True)
            self._urls[path] = url
        return url


def _secrets(headers: Mapping[str, str]) -> list[str]:
    """Return what a response must not be quoted with: some proxies repeat a request in their answer."""
    authorization = headers["authorization"]
    sent = [authorization.rpartition("=")[2], headers.get("x-amz-security-token", "")]
    return [each for each in sent if each]


def explain_failure(error: Exception, remedy: str = _REMEDY) -> str:
    """Return why there was no response; if there was no connection either, with the *remedy*."""
    if not isinstance(error, aiohttp.ClientConnectorError):
        return str(error) or type(error).__name__
    reason = _os_error(error)
    # Error numbers of DNS and TLS are not those of the operating system.
    number = reason.errno if not isinstance(reason, socket.gaierror | ssl.SSLError) else None
    text = os.strerror(number) if number else reason.strerror or str(reason)
    return f"{error.host}:{error.port}: {text}; {remedy}"


def _os_error(error: aiohttp.ClientConnectorError) -> OSError:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return cast("OSError", error.certificate_error)
    return error.os_error
