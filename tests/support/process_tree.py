"""Which processes a process has started, as /proc has it, and whether they still run."""

import asyncio
import os
import time
from pathlib import Path

_PROC = Path("/proc")
_POLL_S = 0.02


def has_proc() -> bool:
    """Whether this system has what ``find_descendants`` reads."""
    return (_PROC / "self" / "stat").exists()


def find_descendants(pid: int) -> set[int]:
    """Return the processes that *pid* has started, and those that they have."""
    children: dict[int, set[int]] = {}
    for entry in _PROC.glob("[0-9]*"):
        if fields := _read_stat(int(entry.name)):
            children.setdefault(int(fields[1]), set()).add(int(entry.name))
    found, new = set[int](), {pid}
    while new := {child for one in new for child in children.get(one, ())}:
        found |= new
    return found


def is_running(pid: int) -> bool:
    """Whether the process is there and, where /proc tells, not merely uncollected."""
    if has_proc():
        return bool(_read_stat(pid))
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_ended(*pids: int, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while running := list(filter(is_running, pids)):
        assert time.monotonic() < deadline, f"still running: {running}"
        time.sleep(_POLL_S)


async def wait_until_all_ended(pids: set[int], timeout_s: float = 20.0) -> None:
    """``wait_until_ended`` for a test on an event loop."""
    await asyncio.to_thread(wait_until_ended, *pids, timeout_s=timeout_s)


def _read_stat(pid: int) -> list[str]:
    """Return what the kernel says of a process after its name; empty where only its remains are left."""
    # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: a name in parentheses, then the state.
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [] if fields[0] == "Z" else fields
