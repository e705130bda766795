"""Bounds the connections of a server, so that idle and half-open ones cannot use up the descriptors.

A connection may last some seconds in all: for its headers, the answer and the time to read it. If there are
too many, the oldest is closed for the newest, so a request that comes whole is answered beside stalled ones.
"""

import asyncio
from collections.abc import Callable
from typing import cast


class BoundedConnections:
    """A protocol factory around that of a server: at most *most* connections, each for *lifetime_s*."""

    def __init__(self, serve: Callable[[], asyncio.Protocol], *, most: int, lifetime_s: float) -> None:
        self._serve = serve
        self._most = most
        self._lifetime_s = lifetime_s
        # In order of age.
        self._open: dict[_Connection, None] = {}

    def __call__(self) -> asyncio.Protocol:
        return _Connection(self, self._serve())

    def add(self, connection: "_Connection") -> asyncio.TimerHandle:
        """Count *connection*; return the timer that ends it."""
        if len(self._open) >= self._most:
            next(iter(self._open)).abort()
        self._open[connection] = None
        return asyncio.get_running_loop().call_later(self._lifetime_s, connection.abort)

    def remove(self, connection: "_Connection") -> None:
        self._open.pop(connection, None)


class _Connection(asyncio.Protocol):
    """Passes everything on to *inner*, which owns the transport."""

    _transport: asyncio.Transport
    _timer: asyncio.TimerHandle

    def __init__(self, connections: BoundedConnections, inner: asyncio.Protocol) -> None:
        self._connections = connections
        self._inner = inner

    def abort(self) -> None:
        self._connections.remove(self)
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._timer = self._connections.add(self)
        self._inner.connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._timer.cancel()
        self._connections.remove(self)
        self._inner.connection_lost(error)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
