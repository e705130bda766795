"""The child process of the embedded AWS: ``python -m infra.local.aws.child``, started by ``EmbeddedAws``.

One line of JSON comes in on standard input (credentials and the like), one goes out on standard output
(the port) once requests are served. After that, the end of standard input is the order to stop.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

# Where anybody may read messages or reset and reconfigure the whole server, without a signature.
_SIDE_DOOR = re.compile(r"/_ministack/|/_localstack/|/_aws/(?!execute-api/)")

# How long a stop may take before the process ends itself regardless.
_STOP_GRACE_S = 2.0


def _environment(settings: dict[str, Any], port: int, directory: str) -> dict[str, str]:
    """ministack's own configuration; it reads these while it is imported."""
    return {
        "AUTH": "true",
        "AWS_ACCESS_KEY_ID": settings["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": settings["secret_access_key"],
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",
        "LOG_LEVEL": "ERROR",
        "MINISTACK_ACCOUNT_ID": settings["account_id"],
        "MINISTACK_REGION": settings["region"],
        "SFN_WAIT_SCALE": str(settings["wait_scale"]),
        "SFTP_ENABLED": "0",
        # No container engine, even where one is installed: nothing here needs it.
        "DOCKER_HOST": f"unix://{directory}/no-docker",
        "S3_DATA_DIR": f"{directory}/s3",
        "STATE_DIR": f"{directory}/state",
        "TMPDIR": directory,
    }


def _guarded(app: App, started: Callable[[], None]) -> App:
    """*app* without ministack's unauthenticated side doors, and with word of when it serves."""

    async def serve(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":

            async def tell(message: Message) -> None:
                if message["type"] == "lifespan.startup.complete":
                    started()
                await send(message)

            await app(scope, receive, tell)
            return
        if _SIDE_DOOR.match(scope["path"]):
            if scope["type"] == "http":
                await send(
                    {"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]}
                )
                await send({"type": "http.response.body", "body": b""})
            return
        await app(scope, receive, send)

    return serve


def _end_at_once(directory: str) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    os._exit(0)


async def _serve(settings: dict[str, Any], listener: socket.socket, stdin: Any, stdout: Any) -> None:
    # Imported here because ministack reads its environment at import.
    import hypercorn.asyncio
    import hypercorn.config

    from infra.local.aws import hooks
    from infra.local.aws.hooks.seam import module

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def wait_for_parent() -> None:
        stdin.read()
        loop.call_soon_threadsafe(stop.set)
        # Threads of executions under way, or a stuck loop, must not keep the process alive.
        threading.Timer(_STOP_GRACE_S, _end_at_once, (tempfile.gettempdir(),)).start()

    # First of all: a parent that goes while this starts must not leave it behind.
    threading.Thread(target=wait_for_parent, daemon=True).start()

    def started() -> None:
        with contextlib.suppress(BrokenPipeError):
            stdout.write(json.dumps({"port": listener.getsockname()[1]}).encode() + b"\n")
            stdout.flush()

    config = hypercorn.config.Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.loglevel = "ERROR"
    config.keep_alive_timeout = 75
    config.graceful_timeout = 0.5
    app = module("ministack.app").app
    async with hooks.installed(app, retained_executions=settings["retained_executions"]):
        await hypercorn.asyncio.serve(_guarded(app, started), config, shutdown_trigger=stop.wait)  # type: ignore[arg-type]


def main() -> None:
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    # ministack may print; standard output belongs to the one line that the parent reads.
    sys.stdout = sys.stderr
    settings = json.loads(stdin.readline())
    with tempfile.TemporaryDirectory(prefix="voice-relay-aws-") as directory:
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        os.environ.update(_environment(settings, listener.getsockname()[1], directory))
        tempfile.tempdir = directory
        exit_code = 0
        try:
            asyncio.run(_serve(settings, listener, stdin, stdout))
        except Exception:  # noqa: BLE001  # the parent reads it from here, and says it
            traceback.print_exc()
            sys.stderr.flush()
            exit_code = 1
    # Executions run on threads that nobody joins, and one reads standard input to its end.
    os._exit(exit_code)


if __name__ == "__main__":
    main()
