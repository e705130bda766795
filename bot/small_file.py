"""Reads a file that should be small: a pipe, a device or a disk image in its place is refused, not read."""

import errno
import os
import stat
from pathlib import Path


def read_small(path: Path, max_bytes: int) -> bytes:
    """Return the content of *path*; raises OSError, also for what is no regular file or has more bytes."""
    with open(path, "rb", opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"more than {max_bytes} bytes", str(path))
    return content


def _open_at_once(path: str, flags: int) -> int:
    # Without O_NONBLOCK, opening a pipe waits for a writer.
    return os.open(path, flags | os.O_NONBLOCK)
