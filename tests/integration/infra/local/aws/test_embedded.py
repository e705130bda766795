"""The embedded AWS as a process: start, isolation, and exit with its parent."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import botocore.exceptions
import pytest

from bot.errors import StartupError
from infra.local.aws import EmbeddedAws
from infra.local.aws.credentials import Credentials
from infra.local.aws.embedded import STOP_TIMEOUT_S
from tests.integration.infra.relay import Webhook, new_relay, send

_PARENT = """
import time
from infra.local.aws import EmbeddedAws
aws = EmbeddedAws()
aws.start()
print(aws.endpoint_url, flush=True)
time.sleep(600)
"""


def _serves(endpoint_url: str) -> bool:
    """Whether the child accepts connections; its process id may outlive it as a zombie."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(endpoint_url.rpartition(":")[2]))) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_exits_with_killed_parent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The child and its files are gone after the parent gets SIGKILL."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        endpoint_url = parent.stdout.readline().decode().strip()
        assert _serves(endpoint_url)
        assert list(tmp_path.iterdir())

        parent.send_signal(signal.SIGKILL)
        parent.wait()

    deadline = time.monotonic() + 10
    while _serves(endpoint_url) or list(tmp_path.iterdir()):
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.02)


def test_stop_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with EmbeddedAws() as aws:
        aws.client("sts").get_caller_identity()
        assert list(tmp_path.iterdir())
        ran = aws.running

    assert (ran, aws.running) == (True, False)
    assert not _serves(aws.endpoint_url)
    assert list(tmp_path.iterdir()) == []


async def test_works_in_event_loop() -> None:
    async with EmbeddedAws() as aws:
        assert aws.client("sts").get_caller_identity()["Account"] == aws.account_id


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has 127.0.0.2 by default")
def test_listens_on_one_loopback_address(aws: EmbeddedAws) -> None:
    port = int(aws.endpoint_url.rpartition(":")[2])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.2", port)) != 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) == 0


def test_has_own_process_group(aws: EmbeddedAws) -> None:
    """Ctrl-C reaches only the parent, which finishes its requests before it stops the child."""
    assert aws.pid is not None
    assert os.getpgid(aws.pid) != os.getpgid(0)


def test_stops_with_running_executions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with Webhook() as webhook:
        webhook.answering.clear()
        with EmbeddedAws() as aws:
            relay = new_relay(aws, webhook)
            relay.start("running")
            deadline = time.monotonic() + 10
            while not webhook.posted:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            begun = time.monotonic()
        assert time.monotonic() - begun < STOP_TIMEOUT_S / 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "path",
    [
        "/_ministack/reset",
        "/_ministack/config",
        "/_ministack/health",
        "/_localstack/health",
        "/_aws/sqs/messages",
    ],
)
def test_blocks_admin_paths(aws: EmbeddedAws, path: str) -> None:
    """ministack would reset itself for any caller."""
    assert send(aws.endpoint_url + path, {}, b"{}").status == 404
    assert aws.client("sts").get_caller_identity()["Account"] == aws.account_id


@pytest.mark.parametrize("key_id", ["test", "123456789012", "AKIA0000000000000000"])
def test_refuses_other_root_keys(aws: EmbeddedAws, key_id: str) -> None:
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        aws.client("secretsmanager", Credentials(key_id, "test")).list_secrets()

    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403)


def test_hides_parents_aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAPARENTPARENT0000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "parents")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "parents")
    monkeypatch.setenv("PERSIST_STATE", "1")

    with EmbeddedAws() as aws:
        assert aws.pid is not None
        if (environ := Path(f"/proc/{aws.pid}/environ")).exists():
            assert b"parents" not in environ.read_bytes()
        assert aws.client("sts").get_caller_identity()["Account"] == aws.account_id


def test_notices_dead_child() -> None:
    with EmbeddedAws() as aws:
        assert aws.pid is not None
        os.kill(aws.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while aws.running:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_reports_failed_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "ministack"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('ministack is out of order')")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(StartupError, match="ministack is out of order"):
        EmbeddedAws().start()
