"""Runs a command that cannot outlive its parent: ``leash.py GRACE_S COMMAND...``, as ``leashed`` writes it.

Standard input is the leash. Where it ends, because the parent closed it or went by whatever signal, the
command is asked to end with SIGTERM and made to with SIGKILL *GRACE_S* seconds later. It runs in an empty
directory that is removed afterwards. The exit code is the command's, 128 and more for a signal.

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


def leashed(command: Sequence[str], *, grace_s: float) -> list[str]:
    """Return the command line that runs *command* on a leash; give it a pipe for its standard input."""
    # Isolated: neither the directory nor the environment that the command is given concerns the leash.
    return [sys.executable, "-I", __file__, str(grace_s), *command]


def main() -> None:
    grace_s, command = float(sys.argv[1]), sys.argv[2:]
    # Ctrl-C in a terminal reaches the whole process group; when to stop is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with tempfile.TemporaryDirectory(prefix="voice-relay-", ignore_cleanup_errors=True) as directory:
        code = _run(command, directory, grace_s)
    # Not sys.exit: the thread may still be reading.
    os._exit(code)


def _run(command: Sequence[str], directory: str, grace_s: float) -> int:
    child = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, start_new_session=True)

    def end(*_: object) -> None:
        child.terminate()
        timer = threading.Timer(grace_s, child.kill)
        timer.daemon = True
        timer.start()

    def wait_for_parent() -> None:
        while os.read(0, 4096):
            pass
        end()

    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=wait_for_parent, daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    main()
