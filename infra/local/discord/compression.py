"""Transport compression: one context for each connection, flushed after every message."""

# https://docs.discord.com/developers/events/gateway#transport-compression

import sys
import zlib
from collections.abc import Callable

# From Python 3.14 on zstd is part of the standard library, and discord.py no longer brings zstandard along.
if sys.version_info >= (3, 14):
    from compression import zstd
else:
    import zstandard

Compress = Callable[[bytes], bytes]


def _open_zlib() -> Compress:
    # Level 1: what counts here is how fast the stand-in can speak, not how little.
    context = zlib.compressobj(level=1)

    def compress(message: bytes) -> bytes:
        # A sync flush ends the message with the 00 00 FF FF that a client looks for.
        return context.compress(message) + context.flush(zlib.Z_SYNC_FLUSH)

    return compress


def _open_zstd() -> Compress:
    # A block flush makes the message whole and leaves the frame, which never ends, open.
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
