"""Runs a command that cannot outlive its parent: ``leash.py GRACE_S COMMAND...``, as ``leashed`` builds it.

Standard input is the leash. When it ends, because the parent closed it or died, the command gets SIGTERM,
and SIGKILL *GRACE_S* seconds later. It runs in an empty directory that is removed afterwards. The exit code
is the command's, or 128 and the number of the signal that ended it.

Meanwhile the parent may write ``KILL``, which ends the command as ``kill -9`` does, and then ``AGAIN``, which
runs it again in the same directory.

The embedded AWS watches its own standard input instead; this is for a command that is run unchanged. It needs
only the standard library, so that it starts fast.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence

KILL = b"k"
AGAIN = b"a"


def leashed(command: Sequence[str], *, grace_s: float) -> list[str]:
    """Return the command line that runs *command* on a leash; give it a pipe for its standard input."""
    # Isolated: the command's directory and environment must not affect the leash.
    return [sys.executable, "-I", __file__, str(grace_s), *command]


def main() -> None:
    grace_s, command = float(sys.argv[1]), sys.argv[2:]
    # Ctrl-C in a terminal reaches the whole process group; the parent decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with tempfile.TemporaryDirectory(prefix="voice-relay-", ignore_cleanup_errors=True) as directory:
        code = _Leash(command, directory, grace_s).run()
    # Not sys.exit: the thread may still be reading.
    os._exit(code)


class _Leash:
    """Runs the command, again after each kill by order."""

    def __init__(self, command: Sequence[str], directory: str, grace_s: float) -> None:
        self._command = command
        self._directory = directory
        self._grace_s = grace_s
        self._killed = False
        self._ending = threading.Event()
        self._again = threading.Semaphore(0)
        self._child = self._start()

    def run(self) -> int:
        """Return the exit code of the first run that was not killed by order, or of the last."""
        signal.signal(signal.SIGTERM, self._end)
        threading.Thread(target=self._obey, daemon=True).start()
        while True:
            code = self._child.wait()
            if self._killed:
                self._again.acquire()
            if self._ending.is_set() or not self._killed:
                return code if code >= 0 else 128 - code
            self._killed = False
            self._child = self._start()
            if self._ending.is_set():
                # The order to end came while nothing ran.
                self._end()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command, cwd=self._directory, stdin=subprocess.DEVNULL, start_new_session=True
        )

    def _obey(self) -> None:
        """Follow the parent's orders until standard input ends, and then stop."""
        while orders := os.read(0, 4096):
            for order in orders:
                if order == KILL[0]:
                    self._killed = True
                    self._child.kill()
                elif order == AGAIN[0]:
                    self._again.release()
        self._end()

    def _end(self, *_: object) -> None:
        self._ending.set()
        self._again.release()
        self._child.terminate()
        timer = threading.Timer(self._grace_s, self._child.kill)
        timer.daemon = True
        timer.start()


if __name__ == "__main__":
    main()
