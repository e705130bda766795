"""The child process of the embedded AWS: ``python -m infra.local.aws.child``, started by ``EmbeddedAws``.

It reads one line of JSON from standard input (credentials and other settings) and writes one to standard
output (the port) once it serves requests. When standard input closes, it stops.
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

# ministack's unauthenticated paths, which can read messages and reset or reconfigure the whole server.
_ADMIN_PATHS = re.compile(r"/_ministack/|/_localstack/|/_aws/(?!execute-api/)")

# A stop that takes longer is forced.
_STOP_GRACE_S = 2.0


def _environment(settings: dict[str, Any], port: int, directory: str) -> dict[str, str]:
    """Return ministack's own configuration, which it reads on import."""
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
        # No container engine, even if one is installed: nothing here needs it.
        "DOCKER_HOST": f"unix://{directory}/no-docker",
        "S3_DATA_DIR": f"{directory}/s3",
        "STATE_DIR": f"{directory}/state",
        "TMPDIR": directory,
    }


def _without_admin_paths(app: App, started: Callable[[], None]) -> App:
    """Wrap *app* to answer 404 on ministack's admin paths, and to call *started* once it serves."""

    async def serve(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":

            async def observe(message: Message) -> None:
                if message["type"] == "lifespan.startup.complete":
                    started()
                await send(message)

            await app(scope, receive, observe)
            return
        if _ADMIN_PATHS.match(scope["path"]):
            if scope["type"] == "http":
                await send(
                    {"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]}
                )
                await send({"type": "http.response.body", "body": b""})
            return
        await app(scope, receive, send)

    return serve


def _exit_now(directory: str) -> None:
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
        # Threads of running executions, or a stuck loop, must not keep the process alive.
        threading.Timer(_STOP_GRACE_S, _exit_now, (tempfile.gettempdir(),)).start()

    # Before anything else, so that a parent that exits during startup leaves no orphan.
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
    async with hooks.installed(
        app,
        retained_executions=settings["retained_executions"],
        retained_input_bytes=settings["retained_input_bytes"],
    ):
        served = _without_admin_paths(hooks.activities.noting_clients(app), started)
        await hypercorn.asyncio.serve(served, config, shutdown_trigger=stop.wait)  # type: ignore[arg-type]


def main() -> None:
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    # ministack may print; standard output is reserved for the line that the parent reads.
    sys.stdout = sys.stderr
    settings = json.loads(stdin.readline())
    with tempfile.TemporaryDirectory(prefix="voice-relay-aws-") as directory:
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        os.environ.update(_environment(settings, listener.getsockname()[1], directory))
        tempfile.tempdir = directory
        exit_code = 0
        try:
            asyncio.run(_serve(settings, listener, stdin, stdout))
        except Exception:  # noqa: BLE001  # the parent reads the traceback and reports it
            traceback.print_exc()
            sys.stderr.flush()
            exit_code = 1
    # Executions run on threads that are never joined, and one thread reads standard input to its end.
    os._exit(exit_code)


if __name__ == "__main__":
    main()
