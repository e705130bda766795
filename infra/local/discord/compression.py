"""Transport compression: one context per connection, flushed after every message."""

# https://docs.discord.com/developers/events/gateway#transport-compression

import sys
import zlib
from collections.abc import Callable

# From Python 3.14, zstd is in the standard library and discord.py no longer depends on zstandard.
if sys.version_info >= (3, 14):
    from compression import zstd
else:
    import zstandard

Compress = Callable[[bytes], bytes]


def _open_zlib() -> Compress:
    # Level 1, because speed matters here, not size.
    context = zlib.compressobj(level=1)

    def compress(message: bytes) -> bytes:
        # A sync flush ends the message with 00 00 FF FF, which clients look for.
        return context.compress(message) + context.flush(zlib.Z_SYNC_FLUSH)

    return compress


def _open_zstd() -> Compress:
    # A block flush completes the message but keeps the frame, which never ends, open.
    if sys.version_info >= (3, 14):
        stream = zstd.ZstdCompressor(level=1)

        def compress(message: bytes) -> bytes:
            return stream.compress(message, mode=stream.FLUSH_BLOCK)
    else:
        context = zstandard.ZstdCompressor(level=1).compressobj()

        def compress(message: bytes) -> bytes:
            return context.compress(message) + context.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    return compress


COMPRESSIONS: dict[str, Callable[[], Compress]] = {"zlib-stream": _open_zlib, "zstd-stream": _open_zstd}
