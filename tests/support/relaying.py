"""The whole relay in the test's own process: every part is real and can be reached."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from botocore.credentials import ReadOnlyCredentials

from bot.api.target import FixedCredentials, Target
from bot.app import open_relay
from bot.relay import Relay
from bot.settings.settings import Settings
from infra.local.discord import StandIn
from tests.support.process import CREDENTIALS

_KEY = ReadOnlyCredentials(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], None)


@asynccontextmanager
async def relaying(directory: Path, standin: StandIn, endpoint: str, **settings: Any) -> AsyncIterator[Relay]:
    """Run the relay, connected to *standin*, during the block; then wait for its deliveries, and stop it."""
    values = {
        "discord_token": standin.token,
        "discord_api_url": standin.api_url,
        # Unused: the target has the endpoint.
        "api_endpoint": "https://api.invalid",
        "data_dir": directory / "data",
        "ops_port": None,
        "heartbeat_s": 0,
        **settings,
    }
    stop = asyncio.Event()
    target = Target(endpoint, CREDENTIALS["AWS_DEFAULT_REGION"], FixedCredentials(_KEY))
    async with open_relay(Settings(_env_file=None, **values), target) as relay:
        running = asyncio.create_task(relay.run(stop))
        try:
            await standin.wait_connected(20)
            yield relay
            await _wait_delivered(relay)
        finally:
            stop.set()
            await running


async def _wait_delivered(relay: Relay, timeout_s: float = 20.0) -> None:
    """Wait until everything is delivered; each check is a turn of the outbox's thread."""
    async with asyncio.timeout(timeout_s):
        while relay.metrics()["events_waiting"] or relay.metrics()["batches_in_flight"]:
            await relay._outbox.flush()
