"""The gateway's compression: what comes out, and how much of it there can be."""

import tracemalloc
import zlib

import orjson
import pytest
from discord.utils import _ActiveDecompressionContext

from bot.gateway.frames import FRAME_MAX_BYTES, BadFrameError, parse_frame
from bot.gateway.inflate import STREAMS
from infra.local.discord.compression import COMPRESSIONS

MESSAGES = [b"{}", b'{"op":11}', orjson.dumps({"op": 0, "d": list(range(100_000))}), b" " * (3 << 20)]


def build_zstd_bomb(blocks: int) -> bytes:
    """A frame whose blocks take four bytes each, and stand for 128 KiB."""
    # https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1: magic, descriptor, window of 8 MiB, RLE blocks
    block = ((128 << 10) << 3 | 1 << 1).to_bytes(3, "little") + b" "
    return b"\x28\xb5\x2f\xfd\x00" + bytes([(23 - 10) << 3]) + block * blocks


def build_zlib_bomb(size: int) -> bytes:
    context = zlib.compressobj(level=9)
    return context.compress(b" " * size) + context.flush(zlib.Z_SYNC_FLUSH)


def test_knows_what_discord_py_asks_for() -> None:
    assert _ActiveDecompressionContext.COMPRESSION_TYPE in STREAMS


@pytest.mark.parametrize("name", STREAMS)
def test_inflates_one_stream(name: str) -> None:
    """One context for a whole connection, as the stand-in compresses."""
    compress, inflate = COMPRESSIONS[name](), STREAMS[name]()
    for message in MESSAGES * 2:
        assert inflate(compress(message)) == message


def test_zlib_frame_may_come_in_parts() -> None:
    inflate, whole = STREAMS["zlib-stream"](), COMPRESSIONS["zlib-stream"]()(b"[1,2,3]")
    assert inflate(whole[:5]) is None
    assert inflate(whole[5:]) == b"[1,2,3]"


@pytest.mark.parametrize(
    ("name", "bomb"),
    [
        ("zstd-stream", build_zstd_bomb(4_800)),
        ("zstd-stream", build_zstd_bomb(260)),
        ("zlib-stream", build_zlib_bomb(600 << 20)),
        ("zlib-stream", build_zlib_bomb(FRAME_MAX_BYTES + 1)),
    ],
    ids=["19 KB of zstd", "1 KB of zstd", "600 MiB of zlib", "just too much of zlib"],
)
def test_bomb_is_not_inflated(name: str, bomb: bytes) -> None:
    """It is given up at the bound, whatever it would have become."""
    inflate = STREAMS[name]()
    tracemalloc.start()
    try:
        with pytest.raises(BadFrameError, match="more than 32 MiB"):
            inflate(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * FRAME_MAX_BYTES


def test_endless_zlib_frame_is_refused() -> None:
    """Its parts would pile up for as long as none ends it."""
    inflate = STREAMS["zlib-stream"]()
    for _ in range(32):
        assert inflate(b"x" * (1 << 20)) is None
    with pytest.raises(BadFrameError, match="does not end"):
        inflate(b"x")


def test_refuses_large_window() -> None:
    """A window is memory that the frame asks for before it has said anything."""
    window_128_mib = b"\x28\xb5\x2f\xfd\x00" + bytes([(27 - 10) << 3]) + b"\x08\x00\x00x"
    with pytest.raises(BadFrameError, match="cannot be decompressed"):
        STREAMS["zstd-stream"]()(window_128_mib)


@pytest.mark.parametrize(
    ("name", "ended"),
    [
        ("zlib-stream", zlib.compress(b"{}") + b"\x00\x00\xff\xff"),
        # One block, the last: two bytes as they are.
        ("zstd-stream", b"\x28\xb5\x2f\xfd\x00\x00" + (2 << 3 | 1).to_bytes(3, "little") + b"{}"),
    ],
)
def test_refuses_frame_behind_end(name: str, ended: bytes) -> None:
    """Nothing follows the end of a stream."""
    inflate = STREAMS[name]()
    assert inflate(ended) == b"{}"
    with pytest.raises(BadFrameError):
        parse_frame(inflate(ended) or b"")
