"""``python -m tests.bench``: the relay and the plain approach, measured side by side on this machine.

The children's data is under ``build/`` of the current directory, so that a flush goes to the disk that the
checkout is on and not to one in memory.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import uvloop
from rich.console import Console

from tests.bench.machine import describe_machine
from tests.bench.report import render, to_json
from tests.bench.suite import FULL, MEASUREMENTS, QUICK, run_suite
from tests.support.backlog import drain_both

_BACKLOG = "backlog"
_WIDTH = 110


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    plan = QUICK if arguments.quick else FULL
    names = arguments.only or [*MEASUREMENTS, _BACKLOG]
    parent = Path("build")
    parent.mkdir(exist_ok=True)
    progress = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=parent) as name,
        progress.status("the disk") as status,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        directory = Path(name).resolve()
        machine = describe_machine(directory)
        before = arguments.before and arguments.before.resolve(strict=True)
        measured = [name for name in names if name != _BACKLOG]
        results = runner.run(run_suite(plan, measured, directory, status.update, before=before))
        drained = None
        if _BACKLOG in names:
            status.update(f"a backlog of {plan.backlog:,} events")
            drained = runner.run(drain_both(directory, 20, plan.backlog))
    console = Console()
    console.width = max(console.width, _WIDTH)
    console.print(render(plan, machine, results))
    for one in drained or ():
        console.print(f"Backlog: {one}")
    if arguments.json is not None:
        arguments.json.write_bytes(to_json(plan, machine, results))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small and once: to see that it works")
    parser.add_argument(
        "--only", action="append", choices=[*MEASUREMENTS, _BACKLOG], help="may be given repeatedly"
    )
    parser.add_argument(
        "--before", type=Path, metavar="CHECKOUT", help="compare with the relay of another checkout"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, every run, there too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
