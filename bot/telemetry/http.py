"""The ops server: health, readiness, metrics and status over HTTP.

It is read-only and asks for no login, so it listens on loopback unless configured otherwise, and answers only
requests that call it by one of its own names. Each connection takes one request.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from bot.errors import StartupError
from bot.telemetry.connections import BoundedConnections
from bot.telemetry.host_names import is_allowed_host
from bot.telemetry.metrics import METRICS_CONTENT_TYPE, render_metrics
from bot.telemetry.secret_patterns import mask_secrets

_CLOSE_TIMEOUT_S: Final = 1.0
_CONNECTIONS: Final = 32
_CONNECTION_S: Final = 5.0
_NO_STORE: Final = {"Cache-Control": "no-store"}
_FOREIGN_HOST: Final = (
    "this server does not answer requests for that host: use its address, "
    "or set VOICE_RELAY_OPS_HOST to the name\n"
)


class OpsServer:
    """Serves ``/healthz``, ``/readyz``, ``/metrics`` and ``/``; open it as a context manager.

    *not_ready* returns a sentence for each reason why the relay cannot work now; *metrics* returns values by
    their names in ``METRICS``. With port 0 the system picks one, which ``port`` then returns. Opening raises
    StartupError if the address is not available. A connection may last *connection_s*.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        not_ready: Callable[[], Sequence[str]],
        metrics: Callable[[], Mapping[str, float]],
        monotonic_s: Callable[[], float] = time.monotonic,
        connection_s: float = _CONNECTION_S,
    ) -> None:
        self._host = host
        self._port = port
        self._not_ready = not_ready
        self._metrics = metrics
        self._monotonic_s = monotonic_s
        self._started_s = monotonic_s()
        self._connection_s = connection_s
        self._addresses: Sequence[str] = ()
        logger = logging.getLogger(__name__)
        logger.addFilter(_is_own_failure)
        self._runner = web.AppRunner(
            self._build(), access_log=None, logger=logger, shutdown_timeout=_CLOSE_TIMEOUT_S
        )

    async def __aenter__(self) -> "OpsServer":
        await self._runner.setup()
        try:
            self._server = await self._listen()
            self._addresses = [listener.getsockname()[0] for listener in self._server.sockets]
        except OSError as error:
            await self._runner.cleanup()
            # asyncio's own message repeats the address, and its wording differs between Python versions.
            reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
            raise StartupError(
                f"the ops server cannot listen on {self._host} port {self._port} ({reason}): "
                "set VOICE_RELAY_OPS_PORT to a free port (0 picks one, empty turns the pages off) "
                "and VOICE_RELAY_OPS_HOST to an address of this machine"
            ) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port it listens on; valid while open."""
        return int(self._server.sockets[0].getsockname()[1])

    async def _listen(self) -> asyncio.Server:
        serve = cast("web.Server", self._runner.server)
        protocols = BoundedConnections(serve, most=_CONNECTIONS, lifetime_s=self._connection_s)
        return await asyncio.get_running_loop().create_server(
            protocols, self._host, self._port, backlog=_CONNECTIONS
        )

    def _build(self) -> web.Application:
        app = web.Application(middlewares=[self._answer_once])
        for path, page in (
            ("/healthz", self._health),
            ("/readyz", self._readiness),
            ("/metrics", self._metrics_text),
            ("/", self._status),
        ):
            app.router.add_get(path, page)
        return app

    @web.middleware
    async def _answer_once(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Refuse a foreign Host, and close the connection after the answer."""
        host = request.headers.get("Host")
        response: web.StreamResponse
        if not is_allowed_host(host, configured=self._host, addresses=self._addresses):
            response = web.Response(status=421, text=_FOREIGN_HOST, headers=_NO_STORE)
        else:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = web.Response(status=error.status, text=f"{error.status}: {error.reason}\n")
        response.force_close()
        return response

    def _reasons(self) -> list[str]:
        # A reason may quote an answer from outside.
        return [mask_secrets(reason) for reason in self._not_ready()]

    async def _health(self, _: web.Request) -> web.Response:
        # An answer at all shows that the process is alive and its event loop runs.
        return web.Response(text="ok\n", headers=_NO_STORE)

    async def _readiness(self, _: web.Request) -> web.Response:
        reasons = self._reasons()
        answer = {"ready": not reasons, "reasons": reasons}
        return web.json_response(answer, status=503 if reasons else 200, headers=_NO_STORE)

    async def _metrics_text(self, _: web.Request) -> web.Response:
        headers = {**_NO_STORE, "Content-Type": METRICS_CONTENT_TYPE}
        return web.Response(body=render_metrics(self._metrics()).encode(), headers=headers)

    async def _status(self, _: web.Request) -> web.Response:
        reasons = self._reasons()
        answer = {
            "ready": not reasons,
            "reasons": reasons,
            "uptime_s": round(self._monotonic_s() - self._started_s, 1),
            "metrics": dict(self._metrics()),
        }
        return web.json_response(answer, headers=_NO_STORE)


def _is_own_failure(record: logging.LogRecord) -> bool:
    """Tell a page's failure from a malformed request, which anybody who can connect may send without end."""
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)
