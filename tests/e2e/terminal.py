"""The command line at a terminal, with someone to read and to press Ctrl-C."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

_TIMEOUT_S = 30.0


class Terminal:
    """The screen of one command; made by ``at_terminal``."""

    def __init__(self, process: asyncio.subprocess.Process, screen: int) -> None:
        self._process = process
        self._screen = screen
        self.shown = ""

    async def wait_for(self, words: str) -> None:
        """Wait until *words* appear; AssertionError if the command ends first."""
        async with asyncio.timeout(_TIMEOUT_S):
            while words not in self.shown:
                assert await self._read(), self.shown

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    async def press_ctrl_c(self) -> int:
        """Interrupt the command and return its exit code."""
        self._process.send_signal(signal.SIGINT)
        return await self.wait_end()

    async def wait_end(self) -> int:
        """Wait for the command to end and return its exit code."""
        async with asyncio.timeout(_TIMEOUT_S):
            while await self._read():
                pass
            return await self._process.wait()

    async def _read(self) -> bool:
        try:
            piece = await asyncio.to_thread(os.read, self._screen, 4096)
        # Linux reports a terminal that no process has open like this.
        except OSError:
            piece = b""
        self.shown += piece.decode()
        return bool(piece)


@asynccontextmanager
async def at_terminal(
    *arguments: str, directory: Path, environment: Mapping[str, str]
) -> AsyncIterator[Terminal]:
    """Run ``voice-relay`` in *directory* with its output on a terminal; killed at the end of the block."""
    screen, end = pty.openpty()
    kept = {"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "100", "HOME": str(directory)}
    command = (sys.executable, "-m", "bot.cli", *arguments)
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env={**kept, **environment},
        stdin=end,
        stdout=end,
        stderr=subprocess.STDOUT,
        # The terminal becomes the controlling one, which passwords are asked for at.
        start_new_session=True,
    )
    os.close(end)
    try:
        yield Terminal(process, screen)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(screen)
