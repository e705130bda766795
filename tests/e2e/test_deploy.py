"""The real command at a real terminal, against the embedded AWS."""

import asyncio
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from infra.local.aws import EmbeddedAws
from tests.support.process import start_child

URL = "https://discord.com/api/webhooks/123456/t0ken-of_a-webhook"
_TIMEOUT_S = 30.0


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAws]:
    with EmbeddedAws(wait_scale=0) as aws:
        yield aws


def _environment(aws: EmbeddedAws, directory: Path) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_ACCESS_KEY_ID": aws.admin.access_key_id,
        "AWS_SECRET_ACCESS_KEY": aws.admin.secret_access_key,
        "AWS_DEFAULT_REGION": aws.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": str(directory),
    }


class Keyboard:
    """A process at a terminal of its own; ``shown`` is everything that has appeared there."""

    def __init__(self, arguments: tuple[str, ...], directory: Path, environment: Mapping[str, str]) -> None:
        self._terminal, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bot.cli", *arguments],
            cwd=directory,
            env={"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "100", **environment},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            # The password prompt goes to the controlling terminal, which must be this one.
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def wait_for(self, words: str) -> None:
        deadline = time.monotonic() + _TIMEOUT_S
        while words not in self.shown:
            assert time.monotonic() < deadline, self.shown
            assert self._read(), self.shown

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def end(self) -> int:
        while self._read():
            pass
        return self._process.wait(_TIMEOUT_S)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)

    def _read(self) -> bool:
        """Read some output; False once the process has closed the terminal."""
        if not select.select([self._terminal], [], [], _TIMEOUT_S)[0]:
            return False
        try:
            data = os.read(self._terminal, 65536)
        except OSError:
            # Linux reports a terminal that no process has open like this.
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)


def test_terminal_shows_plan_without_webhook(aws: EmbeddedAws, tmp_path: Path) -> None:
    keyboard = Keyboard(("deploy", "--create-access-key"), tmp_path, _environment(aws, tmp_path))
    try:
        keyboard.wait_for("Webhook URL of the destination default (not shown): ")
        keyboard.type(URL + "\n")
        keyboard.wait_for("Deploy this? [y/N] ")
        assert "AWS::StepFunctions::StateMachine  NotifyStateMachine" in keyboard.shown
        keyboard.type("y\n")
        assert keyboard.end() == 0, keyboard.shown
    finally:
        keyboard.close()

    assert "\r\x1b[K0:0" in keyboard.shown
    assert "CREATE_COMPLETE             " not in keyboard.shown
    assert "t0ken-of_a-webhook" not in keyboard.shown
    assert "AWS_SECRET_ACCESS_KEY=" in (tmp_path / ".env").read_text()


async def test_bot_needs_only_written_settings(aws: EmbeddedAws, tmp_path: Path) -> None:
    (tmp_path / "webhook").write_text(URL)
    deploy = ("deploy", "--yes", "--stack-name", "other", "--webhook-file", "webhook", "--create-access-key")
    async with start_child(["-m", "bot.cli", *deploy], tmp_path, _environment(aws, tmp_path)) as child:
        assert await child.wait() == 0, child.stderr
    outputs = await asyncio.to_thread(
        lambda: aws.client("cloudformation").describe_stacks(StackName="other")["Stacks"][0]["Outputs"]
    )
    api_id = next(output["OutputValue"] for output in outputs if output["OutputKey"] == "IngressApiId")
    # The endpoint in .env resolves only on AWS, or with a resolver that knows .localhost.
    environment = {"VOICE_RELAY_API_ENDPOINT": aws.api_url(api_id)}

    async with start_child(["-m", "bot.cli", "send-test"], tmp_path, environment) as child:
        assert await child.wait() == 0, child.stderr

    assert ":execution:other-notify:" in child.stdout
