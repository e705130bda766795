"""The parent's side of the embedded AWS: start the child process, make clients, stop the child.

The child watches the pipe on its standard input. When the parent exits, even by SIGKILL, the kernel closes
the pipe and the child stops, so it never outlives its parent.
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

# The environment variables that the child inherits: none that configure ministack or hold real AWS
# credentials.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "VIRTUAL_ENV")


class EmbeddedAws:
    """An embedded AWS, empty at the start and gone at the end; use it in ``with`` or ``async with``.

    *wait_scale* scales the waits and retry intervals of state machines (0 skips them), for tests. Only the
    newest *retained_executions* ended executions are kept, and fewer if their inputs take more than
    *retained_input_bytes*; each takes about four times its input in memory.
    """

    region = "us-east-1"
    account_id = "123456789012"

    def __init__(
        self, *, wait_scale: float = 1.0, retained_executions: int = 2_000, retained_input_bytes: int = 2**23
    ) -> None:
        self._wait_scale = wait_scale
        self._retained_executions = retained_executions
        self._retained_input_bytes = retained_input_bytes
        # Root credentials, generated for one run and known only to the child.
        self.admin = Credentials(
            access_key_id="AKIA" + secrets.token_hex(8).upper(), secret_access_key=secrets.token_urlsafe(30)
        )
        self._child: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._port = 0
        # Ignore the AWS profile and files of the caller.
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
        """Whether the child runs; if it exits, all its state is lost."""
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._child.pid if self._child else None

    def api_url(self, api_id: str) -> str:
        """Return the base URL of an HTTP API's ``$default`` stage; signatures cover exactly this URL.

        Path-style, because ``<id>.execute-api.localhost`` does not resolve everywhere.
        """
        return f"{self.endpoint_url}/_aws/execute-api/{api_id}"

    def client(self, service: str, credentials: Credentials | None = None) -> Any:
        """Return a botocore client for *service*, as root unless *credentials* are given."""
        who = credentials or self.admin
        # Creating clients is not thread-safe in botocore; using them is.
        with self._making_client:
            return self._session.create_client(
                service,
                region_name=self.region,
                endpoint_url=self.endpoint_url,
                aws_access_key_id=who.access_key_id,
                aws_secret_access_key=who.secret_access_key,
                aws_session_token=who.session_token,
                config=botocore.config.Config(
                    # Loopback traffic bypasses the machine's proxy.
                    proxies={},
                    parameter_validation=True,
                    retries={"total_max_attempts": 1},
                    max_pool_connections=50,
                ),
            )

    def start(self) -> None:
        """Start the child and wait until it serves; raises StartupError with its last line of output."""
        if importlib.util.find_spec("ministack") is None:
            raise StartupError("the embedded AWS needs the extra 'local': pip install 'voice-relay[local]'")
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        # The child must find the parent's modules, whatever its working directory.
        environment["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed by stop)
        self._child = child = subprocess.Popen(
            [sys.executable, "-m", "infra.local.aws.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            # Ctrl-C in a terminal reaches the whole process group, but the parent decides when to stop.
            start_new_session=True,
        )
        settings = {
            "access_key_id": self.admin.access_key_id,
            "secret_access_key": self.admin.secret_access_key,
            "account_id": self.account_id,
            "region": self.region,
            "wait_scale": self._wait_scale,
            "retained_executions": self._retained_executions,
            "retained_input_bytes": self._retained_input_bytes,
        }
        answer = _exchange(child, json.dumps(settings).encode() + b"\n")
        if not answer:
            child.wait()
            self._errors.seek(0)
            last_line = self._errors.read().decode(errors="replace").strip().rpartition("\n")[2]
            self.stop()
            raise StartupError(f"the embedded AWS did not start: {last_line or 'no error message'}")
        self._port = int(json.loads(answer)["port"])

    def stop(self) -> None:
        """Stop the child; quick, because it has no state to save."""
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
    """Write *line* to the child and return its first line; empty if it exited or timed out."""
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
