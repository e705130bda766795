"""The ops server: health, readiness, metrics and status over HTTP.

It is read-only and asks for no login, so it listens on loopback unless configured otherwise.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from aiohttp import web

from bot.errors import StartupError
from bot.telemetry.metrics import METRICS_CONTENT_TYPE, render_metrics

_CLOSE_TIMEOUT_S: Final = 1.0
_NO_STORE: Final = {"Cache-Control": "no-store"}


class OpsServer:
    """Serves ``/healthz``, ``/readyz``, ``/metrics`` and ``/``; open it as a context manager.

    *not_ready* returns a sentence for each reason why the relay cannot work now; *metrics* returns values by
    their names in ``METRICS``. With port 0 the system picks one, which ``port`` then returns. Opening raises
    StartupError if the address is not available.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        not_ready: Callable[[], Sequence[str]],
        metrics: Callable[[], Mapping[str, float]],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._port = port
        self._not_ready = not_ready
        self._metrics = metrics
        self._monotonic_s = monotonic_s
        self._started_s = monotonic_s()
        self._runner = web.AppRunner(self._build(), access_log=None, shutdown_timeout=_CLOSE_TIMEOUT_S)

    async def __aenter__(self) -> "OpsServer":
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
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
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port it listens on; valid while open."""
        return int(self._runner.addresses[0][1])

    def _build(self) -> web.Application:
        app = web.Application()
        for path, page in (
            ("/healthz", self._health),
            ("/readyz", self._readiness),
            ("/metrics", self._metrics_text),
            ("/", self._status),
        ):
            app.router.add_get(path, page)
        return app

    async def _health(self, _: web.Request) -> web.Response:
        # An answer at all shows that the process is alive and its event loop runs.
        return web.Response(text="ok\n", headers=_NO_STORE)

    async def _readiness(self, _: web.Request) -> web.Response:
        reasons = list(self._not_ready())
        answer = {"ready": not reasons, "reasons": reasons}
        return web.json_response(answer, status=503 if reasons else 200, headers=_NO_STORE)

    async def _metrics_text(self, _: web.Request) -> web.Response:
        headers = {**_NO_STORE, "Content-Type": METRICS_CONTENT_TYPE}
        return web.Response(body=render_metrics(self._metrics()).encode(), headers=headers)

    async def _status(self, _: web.Request) -> web.Response:
        reasons = list(self._not_ready())
        answer = {
            "ready": not reasons,
            "reasons": reasons,
            "uptime_s": round(self._monotonic_s() - self._started_s, 1),
            "metrics": dict(self._metrics()),
        }
        return web.json_response(answer, headers=_NO_STORE)
