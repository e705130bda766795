"""The leash with real processes on it."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from infra.local.leash import AGAIN, KILL, leashed
from tests.support.process_tree import is_running, wait_until_ended

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

TIMEOUT_S = 20.0
# It sleeps briefly: Python would handle a signal that comes just before a long sleep only after it.
_WAITS = "import time; print('ready', flush=True)\nwhile True: time.sleep(0.02)"
_SAYS_GOODBYE = f"import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); {_WAITS}"
_STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {_WAITS}"
_PARENT = """
import subprocess, sys, time
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)
time.sleep(600)
"""


def start(code: str, *, grace_s: float = TIMEOUT_S) -> subprocess.Popen[bytes]:
    return spawn(leashed([sys.executable, "-c", code], grace_s=grace_s))


def spawn(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def read_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def let_go(process: subprocess.Popen[bytes]) -> int:
    """Close the leash and return the exit code."""
    process.communicate(timeout=TIMEOUT_S)
    return process.returncode


@pytest.mark.parametrize(
    ("code", "expected"),
    [("", 0), ("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 128 + 9)],
)
def test_exit_code_is_the_commands(code: str, expected: int) -> None:
    with start(code) as process:
        assert process.wait(TIMEOUT_S) == expected


def test_closed_leash_ends_command() -> None:
    with start(_SAYS_GOODBYE) as process:
        read_line(process)
        assert let_go(process) == 5


def test_terminated_leash_ends_command() -> None:
    with start(_SAYS_GOODBYE) as process:
        read_line(process)
        process.terminate()
        assert process.wait(TIMEOUT_S) == 5


def test_stubborn_command_is_killed() -> None:
    with start(_STUBBORN, grace_s=0.1) as process:
        read_line(process)
        assert let_go(process) == 128 + signal.SIGKILL


def test_killed_parent_ends_command() -> None:
    command = leashed(
        [sys.executable, "-c", f"import os; print(os.getpid(), flush=True); {_WAITS}"], grace_s=1
    )
    with spawn([sys.executable, "-c", _PARENT, *command]) as parent:
        pid = int(read_line(parent))
        assert is_running(pid)
        parent.kill()
        parent.wait()

    wait_until_ended(pid)


def test_ctrl_c_spares_command() -> None:
    """The parent decides what Ctrl-C means."""
    with start(_SAYS_GOODBYE) as process:
        read_line(process)
        process.send_signal(signal.SIGINT)
        assert let_go(process) == 5


def test_command_has_temporary_directory() -> None:
    code = "import os; print(os.getcwd(), os.listdir()); open('left-behind', 'w').close()"
    with start(code) as process:
        directory, listing = read_line(process).split(" ", 1)
        assert process.wait(TIMEOUT_S) == 0
    assert listing == "[]"
    assert not Path(directory).exists()


def order(process: subprocess.Popen[bytes], what: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(what)
    process.stdin.flush()


_SAYS_ITS_PID = (
    f"import os; print(os.getpid(), os.listdir(), flush=True); open('kept', 'w').close(); {_WAITS}"
)


def test_killed_command_runs_again() -> None:
    """On order, without SIGTERM first, and in the same directory; the leash stays."""
    with start(f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {_SAYS_ITS_PID}") as process:
        first, listing = read_line(process).split(" ", 1)
        assert (read_line(process), listing) == ("ready", "[]")
        order(process, KILL)
        wait_until_ended(int(first))
        assert process.poll() is None

        order(process, AGAIN)
        second, listing = read_line(process).split(" ", 1)
        assert second != first
        assert listing == "['kept']"
        order(process, KILL)
        assert let_go(process) == 128 + signal.SIGKILL


def test_leash_ends_after_kill() -> None:
    with start(_WAITS) as process:
        read_line(process)
        order(process, KILL)
        assert let_go(process) == 128 + signal.SIGKILL


def test_second_life_ends_leash() -> None:
    code = f"import os, sys\nif os.listdir(): sys.exit(7)\nopen('kept', 'w').close()\n{_WAITS}"
    with start(code) as process:
        read_line(process)
        order(process, KILL + AGAIN)
        assert process.wait(TIMEOUT_S) == 7
