"""Many short runs of the real relay: processes forked from one that has done the imports."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import orjson

from tests.support.process import CREDENTIALS

_CHILD = Path(__file__).with_name("warm_child.py")
_ROOT = Path(__file__).parents[2]


class WarmProcess:
    """One process of the relay, from its start to its end."""

    def __init__(self, pid: int, ended: asyncio.Task[int]) -> None:
        self.pid = pid
        self._ended = ended

    @property
    def exit_code(self) -> int | None:
        """``None`` while it runs; a signal's number, negative, where that ended it."""
        return self._ended.result() if self._ended.done() else None

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    async def wait(self, timeout_s: float = 30.0) -> int:
        async with asyncio.timeout(timeout_s):
            return await asyncio.shield(self._ended)

    def _send(self, number: signal.Signals) -> None:
        if not self._ended.done():
            # Its pid is not reused before it is waited for.
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class WarmRelay:
    """Starts one process at a time in *directory*. Made by ``warm_relay``."""

    def __init__(self, process: asyncio.subprocess.Process, directory: Path) -> None:
        self._process = process
        self._directory = directory

    @asynccontextmanager
    async def start(
        self,
        *,
        settings: Mapping[str, str],
        credentials: Mapping[str, str] = CREDENTIALS,
        watch_tick_s: float = 0.02,
    ) -> AsyncIterator[WarmProcess]:
        """Run ``voice-relay run``; killed, if it still runs, at the end of the block."""
        environment = {f"VOICE_RELAY_{name}": value for name, value in settings.items()}
        order = {
            "arguments": ["run"],
            "directory": str(self._directory),
            "environment": {
                "HOME": str(self._directory),
                "AWS_EC2_METADATA_DISABLED": "true",
                **credentials,
                **environment,
            },
            "stdout": str(self._directory / "stdout.log"),
            "stderr": str(self._directory / "stderr.log"),
            "watch_tick_s": watch_tick_s,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(orjson.dumps(order) + b"\n")
        pid = await self._read_number()
        process = WarmProcess(pid, asyncio.create_task(self._read_number()))
        try:
            yield process
        finally:
            process.kill()
            await process.wait()

    async def _read_number(self) -> int:
        assert self._process.stdout is not None
        return int(await self._process.stdout.readline())


@asynccontextmanager
async def warm_relay(directory: Path) -> AsyncIterator[WarmRelay]:
    """Do the imports; processes that are started in the block work in *directory*."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        _CHILD,
        cwd=_ROOT,
        env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(_ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield WarmRelay(process, directory)
    finally:
        process.kill()
        await process.wait()
