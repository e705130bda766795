"""The parent's side of the embedded AWS: start the child, hand out clients, stop the child.

The child watches the pipe on its standard input. When the parent goes, by whatever signal, the kernel
closes that pipe and the child ends itself, so nothing outlives the process that started it.
"""

import asyncio
import importlib.util
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
from typing import IO, Any, Self

import botocore.config
import botocore.session

from bot.errors import StartupError
from infra.local.aws.credentials import Credentials

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0

# What the child may see of the parent's environment. Anything that could steer ministack or lend it
# somebody's real AWS credentials stays out.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "VIRTUAL_ENV")


class EmbeddedAws:
    """One embedded AWS, empty at the start, gone at the end; enter it with ``with`` or ``async with``.

    *wait_scale* shortens the waits and retry intervals of state machines (0 skips them), for tests. The
    newest *retained_executions* can be read back; with its history one takes four times its input in memory.
    """

    region = "us-east-1"
    account_id = "123456789012"

    def __init__(self, *, wait_scale: float = 1.0, retained_executions: int = 2_000) -> None:
        self._wait_scale = wait_scale
        self._retained_executions = retained_executions
        # Root of this AWS: made for one run and told to the child alone.
        self.admin = Credentials(
            access_key_id="AKIA" + secrets.token_hex(8).upper(), secret_access_key=secrets.token_urlsafe(30)
        )
        self._child: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._port = 0
        # Whatever profile the caller's own AWS files and variables name has no business here.
        nowhere = (None, None, os.devnull, None)
        self._session = botocore.session.Session(
            session_vars={
                "profile": (None, None, None, None),
                "config_file": nowhere,
                "credentials_file": nowhere,
            }
        )
        self._making_client = threading.Lock()

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def running(self) -> bool:
        """Whether the child is there; one that ended by itself has taken everything with it."""
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._child.pid if self._child else None

    def api_url(self, api_id: str) -> str:
        """The base URL of an HTTP API's ``$default`` stage; signatures are made over this very URL.

        Path-based, because ``<id>.execute-api.localhost`` does not resolve everywhere.
        """
        return f"{self.endpoint_url}/_aws/execute-api/{api_id}"

    def client(self, service: str, credentials: Credentials | None = None) -> Any:
        """A botocore client for *service*, as the account's root unless *credentials* say otherwise."""
        who = credentials or self.admin
        # A session makes one client at a time; the clients themselves may be used by any thread.
        with self._making_client:
            return self._session.create_client(
                service,
                region_name=self.region,
                endpoint_url=self.endpoint_url,
                aws_access_key_id=who.access_key_id,
                aws_secret_access_key=who.secret_access_key,
                aws_session_token=who.session_token,
                config=botocore.config.Config(
                    # A proxy of the machine's has no business on loopback.
                    proxies={},
                    parameter_validation=True,
                    retries={"total_max_attempts": 1},
                    max_pool_connections=50,
                ),
            )

    def start(self) -> None:
        """Start the child and wait until it serves; raises StartupError with the child's own last words."""
        if importlib.util.find_spec("ministack") is None:
            raise StartupError(
                "the embedded AWS needs the extra named local: pip install 'voice-relay[local]'"
            )
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        # The child must import what the parent imported, wherever either was started from.
        environment["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed by stop)
        self._child = child = subprocess.Popen(
            [sys.executable, "-m", "infra.local.aws.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            # Ctrl-C in a terminal reaches the whole process group; when to stop is the parent's decision.
            start_new_session=True,
        )
        settings = {
            "access_key_id": self.admin.access_key_id,
            "secret_access_key": self.admin.secret_access_key,
            "account_id": self.account_id,
            "region": self.region,
            "wait_scale": self._wait_scale,
            "retained_executions": self._retained_executions,
        }
        answer = _exchange(child, json.dumps(settings).encode() + b"\n")
        if not answer:
            child.wait()
            self._errors.seek(0)
            last_words = self._errors.read().decode(errors="replace").strip().rpartition("\n")[2]
            self.stop()
            raise StartupError(f"the embedded AWS did not start: {last_words or 'it ended without a word'}")
        self._port = int(json.loads(answer)["port"])

    def stop(self) -> None:
        """Stop the child; quick, because there is nothing in it to keep."""
        if self._child is not None:
            for pipe in (self._child.stdin, self._child.stdout):
                if pipe is not None:
                    pipe.close()
            try:
                self._child.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
            self._child = None
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.to_thread(self.stop)


def _exchange(child: subprocess.Popen[bytes], line: bytes) -> bytes:
    """Write *line* to the child and return its first line; empty if it ended or took too long."""
    watchdog = threading.Timer(START_TIMEOUT_S, child.kill)
    watchdog.start()
    try:
        if child.stdin is None or child.stdout is None:
            return b""
        child.stdin.write(line)
        child.stdin.flush()
        return child.stdout.readline()
    except BrokenPipeError:
        return b""
    finally:
        watchdog.cancel()
