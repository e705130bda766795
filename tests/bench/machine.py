"""What a figure depends on besides the program: the machine, its disk, and its other load."""

import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

_COMMITS = 200
_STAT = Path("/proc/stat")


@dataclass(frozen=True, slots=True)
class Machine:
    """``commit_s`` is the median time of a commit that is flushed to the disk under the bench's directory."""

    processor: str
    cores: int
    system: str
    python: str
    sqlite: str
    commit_s: float


def describe_machine(directory: Path) -> Machine:
    """Describe this machine; writes and removes a small database in *directory*."""
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
        commit_s=_time_commit(directory),
    )


class Others:
    """``cores`` is how many cores other programs kept busy on average; ``None`` if unknown."""

    cores: float | None = None


@contextmanager
def watch_others() -> Iterator[Others]:
    """Measure the CPU that is used by others than this process and the children that it has ended."""
    others = Others()
    began, busy = time.monotonic(), _others_busy_s()
    yield others
    now_busy = _others_busy_s()
    if busy is not None and now_busy is not None:
        others.cores = max(0.0, (now_busy - busy) / (time.monotonic() - began))


def _others_busy_s() -> float | None:
    if not _STAT.exists():
        return None
    # https://man7.org/linux/man-pages/man5/proc_stat.5.html: user nice system idle iowait irq softirq steal
    ticks = [int(field) for field in _STAT.read_text().split("\n", 1)[0].split()[1:9]]
    busy = sum(ticks) - ticks[3] - ticks[4]
    return busy / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _time_commit(directory: Path) -> float:
    times = []
    with (
        tempfile.TemporaryDirectory(dir=directory) as name,
        closing(sqlite3.connect(Path(name) / "commit.sqlite3", isolation_level=None)) as db,
    ):
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE event (body TEXT)")
        for _ in range(_COMMITS):
            began = time.perf_counter()
            db.execute("INSERT INTO event VALUES (?)", ("x" * 600,))
            times.append(time.perf_counter() - began)
    return statistics.median(times)
