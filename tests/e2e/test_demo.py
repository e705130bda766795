"""``voice-relay demo`` as a newcomer runs it, and what it says when something is wrong."""

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.cells import cell_len

from infra.local.demo import play, relay, show
from infra.local.demo.evening import BURST
from tests.support.process_tree import find_descendants, has_proc, wait_until_ended

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

TIMEOUT_S = 90.0
# The leash waits longer than the bot's own grace.
GONE_TIMEOUT_S = 15.0
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
_COUNT = re.compile(
    r"^. (\d+) sent, (\d+) delivered, (\d+) lost, (\d+) doubled, (\d+) inferred, (\d+) gaps; ", re.MULTILINE
)
# What breaks on purpose, in order.
_TROUBLES = (
    "next response is lost",
    "The API is down",
    "the API is back",
    "refuses to resume",
    "a new session",
    "posts get a 429",
    "The server goes offline",
    "it is back",
    "kill -9",
    "a new process",
)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for temporary files, so that a test sees what is left behind."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    return directory


@contextmanager
def demo(*options: str) -> Iterator[subprocess.Popen[str]]:
    """The demo with its output in a pipe, in a process group of its own as a shell would start it."""
    command = shutil.which("voice-relay", path=sysconfig.get_path("scripts"))
    assert command is not None
    with subprocess.Popen(
        [command, "demo", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        encoding="utf-8",
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Return the output up to the line that has *text* in it."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"{text!r} was not said:\n{''.join(lines)}")


def wait_until_gone(processes: set[int], directory: Path) -> None:
    wait_until_ended(*processes, timeout_s=GONE_TIMEOUT_S)
    deadline = time.monotonic() + GONE_TIMEOUT_S
    while left := list(directory.iterdir()):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.02)


def test_evening_arrives_whole(temporary: Path) -> None:
    """In plain lines, because the output is no terminal."""
    with demo("--pace", "0") as process:
        output, _ = process.communicate(timeout=TIMEOUT_S)

    assert process.returncode == 0, output
    sent, delivered, lost, doubled, inferred, gaps = read_count(output)
    assert (lost, doubled, gaps) == (0, 0, 2)
    assert BURST < delivered < sent
    assert 0 < inferred <= sent - delivered
    told = [output.index(trouble) for trouble in _TROUBLES]
    assert told == sorted(told)
    assert all(cell_len(line) <= 80 for line in output.splitlines() if line.startswith(("  ⚡ ", "  … ")))
    for why in ("Discord session lost", "server unavailable"):
        assert re.search(rf"▌ ⚠️ Not watching [\d:/, ]+-[\d:/, ]+ \({why}\)\n", output)
    assert "(inferred afterwards)\n" in output
    assert _CONTROL.findall(output) == []
    assert "  @everyone **bold** joins General\n" in output
    assert re.search(r"▌ [\d:]{8} 🟢 @Nelly joined #General · 1 there\n", output)
    check_admission(output)
    assert re.search(r"\nRun it for real, .* in \.env:\n  \S*voice-relay run\n$", output)
    assert list(temporary.iterdir()) == []


def check_admission(output: str) -> None:
    """Somebody waits, staff get a card, a press moves them, and the card says how it ended."""
    assert "  Wisp joins Waiting room\n" in output
    card, end = re.findall(
        r"^#staff · Voice Relay(?: \(edited\))? APP .*\n(?:(?!  ).+\n)+", output, re.MULTILINE
    )
    assert "▌ 🚪 @Wisp is waiting in #Waiting room (joined " in card
    assert card.endswith("[ Admit ]  [ Decline ]\n(notifies @Moderators)\n")
    assert "▌ ✅ Admitted by @Moss after " in end
    assert "[ Admit ]" not in end
    assert "🔵 @Wisp moved from #Waiting room to #General" in output


def read_count(output: str) -> tuple[int, ...]:
    count = _COUNT.search(output)
    assert count is not None, output
    return tuple(map(int, count.groups()))


@pytest.mark.skipif(not has_proc(), reason="looks for processes in /proc")
@pytest.mark.parametrize("moment", ["Embedded AWS", "Connected", "Everyone", "kill -9"])
def test_killed_demo_leaves_nothing(temporary: Path, moment: str) -> None:
    pace = "0.2" if moment in ("Everyone", "kill -9") else "100"
    with demo("--plain", "--pace", pace) as process:
        read_until(process, moment)
        children = find_descendants(process.pid)
        assert children
        process.kill()
        process.wait()
        wait_until_gone(children, temporary)


@pytest.mark.skipif(not has_proc(), reason="looks for processes in /proc")
@pytest.mark.parametrize("moment", ["Discord stand-in", "Bot", "Nelly joins"])
def test_ctrl_c_ends_it_cleanly(temporary: Path, moment: str) -> None:
    with demo("--plain", "--pace", "100") as process:
        read_until(process, moment)
        children = find_descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=GONE_TIMEOUT_S)

        assert process.returncode == 130
        assert "Traceback" not in rest
        assert "Error" not in rest
        wait_until_gone(children, temporary)


async def test_loss_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rules make the relay drop departures."""
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\ntypes = ["left"]\ndrop = true\n\n' + relay._RULES.read_text())
    monkeypatch.setattr(relay, "_RULES", rules)
    monkeypatch.setattr(show, "_DELIVERY_TIMEOUT_S", 3.0)

    assert await play(plain=True, pace=0) == 1

    output = capsys.readouterr().out
    sent, delivered, lost, doubled, *_ = read_count(output)
    assert delivered < sent
    assert lost > 0
    assert doubled == 0
    assert re.search(r"In the workflow: lost: \d × left", output)
    assert "Run it for real" not in output


async def test_failed_start_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(relay, "_RULES", tmp_path / "nowhere.toml")

    assert await play(plain=True, pace=0) == 1

    output = capsys.readouterr().out
    assert "failed while waiting for the bot to connect: voice-relay run ended by itself" in output
    assert "VOICE_RELAY_RULES_FILE" in output
