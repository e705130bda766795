"""The embedded AWS as a process: how it starts, what it leaves open, and that it goes with its parent."""

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
    """Whether the child is there; its process id may stay around for as long as nobody collects it."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(endpoint_url.rpartition(":")[2]))) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_dies_with_a_parent_that_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And takes its files with it."""
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


def test_is_gone_and_leaves_no_file_when_it_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with EmbeddedAws() as aws:
        aws.client("sts").get_caller_identity()
        assert list(tmp_path.iterdir())
        ran = aws.running

    assert (ran, aws.running) == (True, False)
    assert not _serves(aws.endpoint_url)
    assert list(tmp_path.iterdir()) == []


async def test_can_be_used_in_an_event_loop() -> None:
    async with EmbeddedAws() as aws:
        assert aws.client("sts").get_caller_identity()["Account"] == aws.account_id


@pytest.mark.skipif(sys.platform != "linux", reason="only there is 127.0.0.2 an address from the start")
def test_listens_on_one_address_of_loopback_only(aws: EmbeddedAws) -> None:
    port = int(aws.endpoint_url.rpartition(":")[2])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.2", port)) != 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) == 0


def test_is_not_in_the_terminals_process_group(aws: EmbeddedAws) -> None:
    """Ctrl-C there is for the parent, which has requests to finish before it stops this."""
    assert aws.pid is not None
    assert os.getpgid(aws.pid) != os.getpgid(0)


def test_stops_at_once_with_executions_under_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with Webhook() as webhook:
        webhook.answering.clear()
        with EmbeddedAws() as aws:
            relay = new_relay(aws, webhook)
            relay.start("under-way")
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
def test_has_no_side_door(aws: EmbeddedAws, path: str) -> None:
    """ministack would reset itself for anybody who asks."""
    assert send(aws.endpoint_url + path, {}, b"{}").status == 404
    assert aws.client("sts").get_caller_identity()["Account"] == aws.account_id


@pytest.mark.parametrize("key_id", ["test", "123456789012", "AKIA0000000000000000"])
def test_has_no_root_user_but_its_own(aws: EmbeddedAws, key_id: str) -> None:
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        aws.client("secretsmanager", Credentials(key_id, "test")).list_secrets()

    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403)


def test_knows_nothing_of_the_parents_aws_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAPARENTPARENT0000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "parents")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "parents")
    monkeypatch.setenv("PERSIST_STATE", "1")

    with EmbeddedAws() as aws:
        assert aws.pid is not None
        if (environ := Path(f"/proc/{aws.pid}/environ")).exists():
            assert b"parents" not in environ.read_bytes()
        assert aws.client("sts").get_caller_identity()["Account"] == aws.account_id


def test_notices_a_child_that_died() -> None:
    with EmbeddedAws() as aws:
        assert aws.pid is not None
        os.kill(aws.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while aws.running:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_says_why_it_did_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "ministack"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('ministack is out of order')")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(StartupError, match="ministack is out of order"):
        EmbeddedAws().start()
