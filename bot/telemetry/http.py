"""What the relay tells about itself over HTTP: is it alive, is it ready, how much has it done.

Nothing here changes anything or needs a login, so it is bound to this machine alone unless told otherwise.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from aiohttp import web

from bot.errors import StartupError

_CLOSE_TIMEOUT_S: Final = 1.0
_NAME_PREFIX: Final = "voice_relay_"
_NO_STORE: Final = {"Cache-Control": "no-store"}


class OpsServer:
    """Serves ``/healthz``, ``/readyz``, ``/metrics`` and ``/``; open it as a context manager.

    *not_ready* returns a sentence for each reason why the relay is not doing its work now; *metrics* returns
    numbers by name, in snake_case without the common prefix, counters with ``_total`` at the end. Port 0
    picks one; ``port`` tells which. Raises StartupError where the address cannot be had.
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
            # asyncio's own text says the address too, and not the same way in every version.
            reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
            raise StartupError(
                f"the ops pages cannot be served on {self._host} port {self._port} ({reason}): "
                "set VOICE_RELAY_OPS_PORT to a free port (0 picks one, empty turns the pages off) "
                "and VOICE_RELAY_OPS_HOST to an address of this machine"
            ) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port that is listened on; valid while open."""
        return int(self._runner.addresses[0][1])

    def _build(self) -> web.Application:
        app = web.Application()
        for path, page in (
            ("/healthz", self._health),
            ("/readyz", self._readiness),
            ("/metrics", self._metrics_page),
            ("/", self._status),
        ):
            app.router.add_get(path, page)
        return app

    async def _health(self, _: web.Request) -> web.Response:
        # That it is answered at all is what it says: the process lives and its loop turns.
        return web.Response(text="ok\n", headers=_NO_STORE)

    async def _readiness(self, _: web.Request) -> web.Response:
        reasons = list(self._not_ready())
        answer = {"ready": not reasons, "reasons": reasons}
        return web.json_response(answer, status=503 if reasons else 200, headers=_NO_STORE)

    async def _metrics_page(self, _: web.Request) -> web.Response:
        page = render_metrics(self._metrics())
        # https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
        return web.Response(
            body=page.encode(),
            headers={**_NO_STORE, "Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    async def _status(self, _: web.Request) -> web.Response:
        reasons = list(self._not_ready())
        answer = {
            "ready": not reasons,
            "reasons": reasons,
            "uptime_s": round(self._monotonic_s() - self._started_s, 1),
            "metrics": dict(self._metrics()),
        }
        return web.json_response(answer, headers=_NO_STORE)


def render_metrics(values: Mapping[str, float]) -> str:
    """Return *values* in Prometheus's text format."""
    lines = []
    for name, value in sorted(values.items()):
        kind = "counter" if name.endswith("_total") else "gauge"
        lines += [f"# TYPE {_NAME_PREFIX}{name} {kind}", f"{_NAME_PREFIX}{name} {value}"]
    return "\n".join([*lines, ""])
