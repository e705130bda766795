"""The real programs as child processes, for tests that see the whole from outside.

A child has an environment of its own, without this machine's AWS or relay settings, and a directory of its
own, which its output goes to. It never outlives the block that started it.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson

_POLL_S = 0.02
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TMPDIR")
CREDENTIALS: Mapping[str, str] = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "AWS_DEFAULT_REGION": "us-east-1",
}
"""AWS's own example keys, which are only good to sign with."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used: seconds of CPU in all its threads, and its largest resident memory."""

    cpu_s: float
    peak_rss_bytes: int


class Child:
    """A running program. Made by ``start_child``; its output stays readable after its end."""

    def __init__(self, process: asyncio.subprocess.Process, stdout: Path, stderr: Path) -> None:
        self._process = process
        self._stdout = stdout
        self._stderr = stderr

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """``None`` while it runs; a signal's number, negative, where that ended it."""
        return self._process.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, which a process that has ended ignores."""
        # Not by the process object, which asks for the exit code first and so takes it from asyncio.
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self, timeout_s: float = 30.0) -> int:
        """Wait for its end and return the exit code."""
        async with asyncio.timeout(timeout_s):
            return await self._process.wait()

    def usage(self) -> Usage:
        """Return what it has used so far; only while it runs."""
        return read_usage(self.pid)

    @property
    def stdout(self) -> str:
        return self._stdout.read_text(encoding="utf-8", errors="replace")

    @property
    def stderr(self) -> str:
        return self._stderr.read_text(encoding="utf-8", errors="replace")

    def log(self, event: str | None = None) -> list[dict[str, Any]]:
        """Return the lines of its log, all or those about *event*; for a log in JSON."""
        complete = self.stdout.rpartition("\n")[0]
        lines = [orjson.loads(line) for line in complete.splitlines() if line.startswith("{")]
        return [line for line in lines if event is None or line["event"] == event]

    async def wait_for_log(self, event: str, timeout_s: float = 30.0, count: int = 1) -> list[dict[str, Any]]:
        """Wait until the log has *count* lines about *event* and return them."""
        async with asyncio.timeout(timeout_s):
            while len(lines := self.log(event)) < count:
                self.check_alive()
                await asyncio.sleep(_POLL_S)
        return lines

    async def wait_ready(self, timeout_s: float = 30.0) -> None:
        """Wait until the relay reports that it is ready; it must be started with its ops server."""
        listening = (await self.wait_for_log("ops_listening", timeout_s))[-1]
        url = f"http://{listening['host']}:{listening['port']}/readyz"
        async with asyncio.timeout(timeout_s), aiohttp.ClientSession() as session:
            while True:
                self.check_alive()
                async with session.get(url) as response:
                    if response.status == 200:
                        return
                await asyncio.sleep(_POLL_S)

    def check_alive(self) -> None:
        """Raise ChildProcessError, with the last of its output, if it has ended."""
        if self.exit_code is not None:
            output = self.stdout[-2000:] + self.stderr[-2000:]
            raise ChildProcessError(f"ended with {self.exit_code}: {output}")


@asynccontextmanager
async def start_child(
    arguments: Sequence[str | Path], directory: Path, environment: Mapping[str, str]
) -> AsyncIterator[Child]:
    """Run ``python`` with *arguments* in *directory*; killed, if it still runs, at the end of the block.

    Another child may be started in the same directory later; each has files of output of its own.
    """
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    stdout, stderr = _name_outputs(directory)
    with stdout.open("xb") as out, stderr.open("xb") as err:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=directory,
            env={**kept, "HOME": str(directory), "AWS_EC2_METADATA_DISABLED": "true", **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
    child = Child(process, stdout, stderr)
    try:
        yield child
    finally:
        child.kill()
        await process.wait()


def _name_outputs(directory: Path) -> tuple[Path, Path]:
    number = len(list(directory.glob("stdout-*.log"))) + 1
    return directory / f"stdout-{number}.log", directory / f"stderr-{number}.log"


@asynccontextmanager
async def start_relay(
    directory: Path,
    *,
    discord_api_url: str,
    token: str = "stand-in",  # noqa: S107  # the stand-in's own default
    api_endpoint: str | None = None,
    credentials: Mapping[str, str] = CREDENTIALS,
    settings: Mapping[str, str] | None = None,
    arguments: Sequence[str] = ("run",),
    checkout: Path | None = None,
) -> AsyncIterator[Child]:
    """Run ``voice-relay`` in *directory*, its data in ``data`` there; *settings* adds some, by name.

    Another *checkout* runs with this one's packages.
    """
    values = {
        "DISCORD_TOKEN": token,
        "DISCORD_API_URL": discord_api_url,
        "DATA_DIR": str(directory / "data"),
        "OPS_PORT": "0",
        "LOG_FORMAT": "json",
        # Tests count requests; those about heartbeats turn them on.
        "HEARTBEAT_S": "0",
        **({} if api_endpoint is None else {"API_ENDPOINT": api_endpoint}),
        **(settings or {}),
    }
    environment = {f"VOICE_RELAY_{name}": value for name, value in values.items()}
    environment |= credentials
    if checkout is not None:
        environment["PYTHONPATH"] = str(checkout)
    async with start_child(["-m", "bot.cli", *arguments], directory, environment) as child:
        yield child


def read_usage(pid: int) -> Usage:
    """Return what the process has used; where there is no /proc, its memory now stands for the peak."""
    proc = Path(f"/proc/{pid}")
    if not proc.exists():
        output = subprocess.run(
            ["ps", "-o", "rss=,time=", "-p", str(pid)], check=True, capture_output=True, text=True
        ).stdout
        rss, time = output.split()
        return Usage(_parse_clock(time), int(rss) * 1024)
    # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: utime and stime are fields 14 and 15; the
    # second field, the name, may hold spaces.
    fields = (proc / "stat").read_text().rpartition(") ")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), int(status["VmHWM"].split()[0]) * 1024)


def _parse_clock(text: str) -> float:
    """Return the seconds of ``ps``'s ``[hours:]minutes:seconds``."""
    seconds = 0.0
    for part in text.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds
