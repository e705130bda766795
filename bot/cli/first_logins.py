"""Logs in to the APIs at the start of single-machine mode: wrong credentials show before an event needs them.

It does so beside the relay: an API that is down must not keep the bot from watching.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import structlog

from infra.deploy.aws_errors import DeployError
from infra.deploy.connection_stack import log_in
from infra.deploy.engine import ClientFactory
from infra.local.connections import VARIABLE

_POLL_S: Final = 0.2


class _Stopped(Exception):
    """The relay stops before the login has ended."""


@asynccontextmanager
async def first_logins(client: ClientFactory, refreshes: Mapping[str, str]) -> AsyncIterator[None]:
    """Run each of the *refreshes*, ARNs by workflow, and log how it ended; on exit, wait for none of them."""
    stop = threading.Event()
    logins = [
        asyncio.create_task(asyncio.to_thread(_log_in, client, workflow, arn, stop))
        for workflow, arn in refreshes.items()
    ]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*logins)


def _log_in(client: ClientFactory, workflow: str, arn: str, stop: threading.Event) -> None:
    def sleep(seconds: float) -> None:
        if stop.wait(seconds):
            raise _Stopped

    log = structlog.get_logger(__name__)
    try:
        failure = log_in(client, arn, sleep=sleep, poll_s=_POLL_S)
    except _Stopped:
        return
    except DeployError as error:
        failure = str(error)
    if failure is None:
        log.info("api_login_worked", workflow=workflow)
    else:
        log.warning(
            "api_login_failed",
            workflow=workflow,
            reason=failure,
            next=f"check [{workflow}] in the file {VARIABLE} and restart the relay; redrive what was refused",
        )
