"""The real command line after its imports: each line on standard input forks one process of it.

Importing takes most of the time of a short run, and has nothing to lose. So it is done once, here, and every
order forks a process that continues as ``voice-relay`` would: ``bot.cli.main`` with the arguments,
environment, directory and output files of the order. The answer is its pid, and its exit code when it ends.
"""

import gc
import json
import os
import sys
from typing import Any

import bot.app
import bot.cli.main
import bot.relay


def main() -> None:
    # Imported objects stay shared with the forked processes.
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order)
        _answer(pid)
        _, status = os.waitpid(pid, 0)
        _answer(os.waitstatus_to_exitcode(status))


def _answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _become(order: dict[str, Any]) -> None:
    """Become the process that *order* describes; does not return."""
    os.chdir(order["directory"])
    os.environ.clear()
    os.environ.update(order["environment"])
    for number, path in enumerate((os.devnull, order["stdout"], order["stderr"])):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
        os.dup2(os.open(path, flags, 0o600), number)
    # Runs of a fraction of a second should still do what usually happens every few seconds.
    bot.relay._WATCH_TICK_S = order["watch_tick_s"]
    code = 70
    try:
        code = bot.cli.main.main(order["arguments"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
