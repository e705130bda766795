"""Undoes the gateway's transport compression, with a bound on what a message may become.

Compression is one stream for each connection, and each WebSocket message ends with a flush. A hostile message
is small: 19 KB of zstd can stand for more than half a gigabyte. So a message is fed in slices that can only
become so much each, and given up at the slice that takes it over the bound.
"""

# https://docs.discord.com/developers/events/gateway#transport-compression

import sys
import zlib
from collections.abc import Callable
from typing import Final, Protocol

from bot.gateway.frames import FRAME_MAX_BYTES, BadFrameError

# From Python 3.14, zstd is in the standard library and discord.py no longer depends on zstandard.
if sys.version_info >= (3, 14):
    from compression import zstd

    _ZstdError = zstd.ZstdError
else:
    import zstandard

    _ZstdError = zstandard.ZstdError

# https://www.rfc-editor.org/rfc/rfc9659: an encoder for the web keeps to a window of 8 MiB.
_ZSTD_WINDOW_LOG: Final = 23
# A block is at most 128 KiB, and takes 4 bytes at least: https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1.2
_ZSTD_MOST: Final = 128 * 1024 // 4
# A byte of deflate's stands for 1,032 at most: https://zlib.net/zlib_tech.html
_ZLIB_MOST: Final = 1032
_SYNC_FLUSH: Final = b"\x00\x00\xff\xff"


class Inflate(Protocol):
    """Takes a WebSocket message; ``None`` if more have to come before it is a whole frame.

    Raises BadFrameError for what cannot be decompressed, or becomes too large.
    """

    def __call__(self, message: bytes, /) -> bytes | None: ...


def open_zstd() -> Inflate:
    """Begin a stream of ``zstd-stream``: each message is a whole frame of the gateway's."""
    return _Bounded(_open_zstd(), FRAME_MAX_BYTES // _ZSTD_MOST).feed


def open_zlib() -> Inflate:
    """Begin a stream of ``zlib-stream``: a frame of the gateway's ends with a flush."""
    stream = _Bounded(zlib.decompressobj().decompress, FRAME_MAX_BYTES // _ZLIB_MOST)
    parts = bytearray()

    def inflate(message: bytes, /) -> bytes | None:
        parts.extend(message)
        if len(parts) > FRAME_MAX_BYTES:
            raise BadFrameError("a frame that does not end")
        if not message.endswith(_SYNC_FLUSH):
            return None
        whole = bytes(parts)
        parts.clear()
        return stream.feed(whole)

    return inflate


STREAMS: Final[dict[str, Callable[[], Inflate]]] = {"zlib-stream": open_zlib, "zstd-stream": open_zstd}


class _Bounded:
    """Feeds a decompressor slices of *slice_bytes*, each of which becomes no more than the bound."""

    def __init__(self, decompress: Callable[[bytes], bytes], slice_bytes: int) -> None:
        self._decompress = decompress
        self._slice_bytes = slice_bytes

    def feed(self, message: bytes, /) -> bytes:
        try:
            if len(message) <= self._slice_bytes:
                return self._decompress(message)
            return self._feed_slices(message)
        except (_ZstdError, zlib.error, EOFError):
            raise BadFrameError("a frame that cannot be decompressed") from None

    def _feed_slices(self, message: bytes) -> bytes:
        parts, size = [], 0
        for start in range(0, len(message), self._slice_bytes):
            part = self._decompress(message[start : start + self._slice_bytes])
            size += len(part)
            if size > FRAME_MAX_BYTES:
                raise BadFrameError(f"a frame of more than {FRAME_MAX_BYTES >> 20} MiB")
            parts.append(part)
        return b"".join(parts)


def _open_zstd() -> Callable[[bytes], bytes]:
    if sys.version_info >= (3, 14):
        options = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
        return zstd.ZstdDecompressor(options=options).decompress
    return zstandard.ZstdDecompressor(max_window_size=1 << _ZSTD_WINDOW_LOG).decompressobj().decompress
