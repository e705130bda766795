"""What a frame of the gateway is: JSON of the shape that the protocol promises, or a BadFrameError.

    op   name              d                                 otherwise
    0    dispatch          an object, where it is read       bad; so is one without a name or a number
    1    heartbeat         anything                          -
    7    reconnect         anything                          -
    9    invalid session   true: may be resumed; false       bad
    10   HELLO             an object with an interval        bad; a second one is, too
    11   heartbeat ACK     anything                          -
    *    a later one       anything                          said once, and skipped

A bad frame costs the connection, never the process: with RESUME the frame comes again.
"""

# https://docs.discord.com/developers/events/gateway-events#payload-structure

from typing import Any, Final

import orjson
from yarl import URL

FRAME_MAX_BYTES: Final = 32 << 20
"""The largest frame that is read, compressed or not.

A GUILD_CREATE is the largest that Discord sends. With every limit of a server reached at once it is about 17
MB: 12 MB for a stage with 10,000 listeners (a voice state and a member each), 3 MB for 500 channels with 50
overwrites and a topic each, 1 MB for 1,000 threads, and less for 250 roles, 500 emojis and 100 events. Twice
that is left alone, because a server whose frame is refused is not watched at all.
"""

_LARGE_BYTES: Final = 1 << 20
_BYTES_FOR_VALUE: Final = 8
"""A value of Discord's has a name or is an id. 32 MiB of ``[],[],`` would take a gigabyte once parsed."""

DISPATCH: Final = 0
RECONNECT: Final = 7
INVALID_SESSION: Final = 9
HELLO: Final = 10
KNOWN_OPS: Final = frozenset({1, RECONNECT, INVALID_SESSION, HELLO, 11})

_INTERVAL_MS: Final = (1_000, 300_000)
"""Discord's is 41,250. Less would flood it with heartbeats, more would keep a dead connection."""
_SEQ_MAX: Final = (1 << 53) - 1
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class BadFrameError(Exception):
    """The gateway sent something that the protocol does not have; *what* it was, as a noun."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def parse_frame(data: bytes) -> dict[str, Any]:
    """Return the frame, an object with an integer ``op``; raises BadFrameError."""
    if len(data) > _LARGE_BYTES and data.count(b",") * _BYTES_FOR_VALUE > len(data):
        raise BadFrameError("a frame of more values than Discord sends")
    try:
        frame = orjson.loads(data)
    except ValueError:
        raise BadFrameError("a frame that is not JSON") from None
    if type(frame) is not dict or type(frame.get("op")) is not int:
        raise BadFrameError("a frame without an op")
    return frame


def parse_dispatch(frame: dict[str, Any]) -> tuple[str, int]:
    """Return the name and the sequence number of a dispatch; raises BadFrameError."""
    event, seq = frame.get("t"), frame.get("s")
    if type(event) is not str:
        raise BadFrameError("a dispatch without a name")
    if type(seq) is not int or not 0 <= seq <= _SEQ_MAX:
        raise BadFrameError("a dispatch without a sequence number")
    return event, seq


def parse_control(frame: dict[str, Any]) -> dict[str, Any]:
    """Return a frame that is no dispatch with nothing in it but what is read of it; raises BadFrameError."""
    op, data = frame["op"], frame.get("d")
    if op == HELLO:
        interval_ms = data.get("heartbeat_interval") if isinstance(data, dict) else None
        low, high = _INTERVAL_MS
        if not isinstance(interval_ms, int | float) or not low <= interval_ms <= high:
            raise BadFrameError("a HELLO without a possible heartbeat interval")
        return {"op": op, "d": {"heartbeat_interval": interval_ms}}
    if op == INVALID_SESSION:
        if type(data) is not bool:
            raise BadFrameError("an invalid session (op 9) that does not say whether it can be resumed")
        return {"op": op, "d": data}
    return {"op": op, "d": None}


def parse_ready(payload: dict[str, Any]) -> tuple[str, str]:
    """Return the session's id and where to resume it, of a READY; raises BadFrameError."""
    session_id = payload.get("session_id")
    if type(session_id) is not str or not session_id:
        raise BadFrameError("a READY without a session")
    url = parse_gateway_url(payload.get("resume_gateway_url"))
    if url is None:
        raise BadFrameError("a READY without a gateway to resume at")
    return session_id, url


def parse_gateway_url(value: object) -> str | None:
    """Return the address of a gateway, ``None`` if *value* is none.

    The token goes there: so it is wss, or on this machine.
    """
    if not isinstance(value, str):
        return None
    try:
        url = URL(value)
    except ValueError:
        return None
    secure = url.scheme == "wss" or (url.scheme == "ws" and url.host in LOOPBACK)
    return value if secure and url.host else None
