"""Files that only their owner can read or lock, whatever the umask: they say who was where."""

import os
import stat
from contextlib import suppress
from pathlib import Path

_OWNER_ONLY = 0o600
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def open_private(path: Path) -> int:
    """Open *path* for writing, creating it where missing, and return the descriptor.

    Raises OSError, also if *path* is a symbolic link: that may lead to another's file.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _OWNER_ONLY)
    # A reader of the file could hold its lock.
    with suppress(PermissionError):
        os.fchmod(descriptor, _OWNER_ONLY)
    return descriptor


def make_private(path: Path, *, create: bool) -> None:
    """Take *path* from the group and others, unless it is another user's; *create* it where missing.

    Does not open an existing file, because closing it would release SQLite's locks of this process.
    https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
    """
    if create:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY))
    with suppress(FileNotFoundError, PermissionError):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _OTHERS:
            path.chmod(mode & ~_OTHERS)
