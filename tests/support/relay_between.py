"""The relay between the two ends that a test holds: the stand-in for Discord, and an API to deliver to."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from infra.local.discord import StandIn
from tests.support.ingress import StubIngress
from tests.support.output import check_output
from tests.support.process import CREDENTIALS, Child, start_relay


@asynccontextmanager
async def relay_between(
    directory: Path,
    standin: StandIn,
    api: StubIngress,
    *,
    connected: bool = True,
    credentials: Mapping[str, str] = CREDENTIALS,
    secrets: Iterable[str] = (),
    **settings: str,
) -> AsyncIterator[Child]:
    """Run the relay in *directory* with *settings*, by default from the moment when it is connected.

    At the end its output is checked: no traceback, and none of the *secrets*.
    """
    async with start_relay(
        directory,
        discord_api_url=standin.api_url,
        token=standin.token,
        api_endpoint=api.endpoint,
        credentials=credentials,
        settings=settings,
    ) as relay:
        if connected:
            await standin.wait_connected(20)
        yield relay
    check_output(relay, secrets)
