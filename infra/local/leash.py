"""Runs a command that cannot outlive its parent: ``leash.py GRACE_S COMMAND...``, as ``leashed`` writes it.

Standard input is the leash. Where it ends, because the parent closed it or went by whatever signal, the
command is asked to end with SIGTERM and made to with SIGKILL *GRACE_S* seconds later. It runs in an empty
directory that is removed afterwards. The exit code is the command's, 128 and more for a signal.

While it lasts, the parent may write ``KILL``, which ends the command at once, as ``kill -9`` does, and then
``AGAIN``, which runs it again in the same directory.

The embedded AWS minds its own standard input instead. This is for a command that must be run as it is; it
needs nothing but the standard library, so that it starts in the blink of an eye.
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
    # Isolated: neither the directory nor the environment that the command is given concerns the leash.
    return [sys.executable, "-I", __file__, str(grace_s), *command]


def main() -> None:
    grace_s, command = float(sys.argv[1]), sys.argv[2:]
    # Ctrl-C in a terminal reaches the whole process group; when to stop is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with tempfile.TemporaryDirectory(prefix="voice-relay-", ignore_cleanup_errors=True) as directory:
        code = _Leash(command, directory, grace_s).run()
    # Not sys.exit: the thread may still be reading.
    os._exit(code)


class _Leash:
    """The command's lives, one after the other."""

    def __init__(self, command: Sequence[str], directory: str, grace_s: float) -> None:
        self._command = command
        self._directory = directory
        self._grace_s = grace_s
        self._killed = False
        self._ending = threading.Event()
        self._again = threading.Semaphore(0)
        self._child = self._start()

    def run(self) -> int:
        """Return the exit code of the first life that was not killed by order, or of the last."""
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
                # The end was called for while there was nothing to end.
                self._end()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command, cwd=self._directory, stdin=subprocess.DEVNULL, start_new_session=True
        )

    def _obey(self) -> None:
        """Follow the parent's orders, and end with them."""
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
