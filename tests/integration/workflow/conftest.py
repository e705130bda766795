"""The workflows, deployed from the template to an embedded AWS, posting to the stand-in for Discord."""

from collections.abc import AsyncIterator

import pydantic
import pytest_asyncio

from infra.local.discord import StandIn
from infra.local.machine import single_machine
from tests.integration.workflow.running import Relay


async def _relay(scale: float) -> AsyncIterator[Relay]:
    async with StandIn(webhook_limit=None) as standin:
        webhook = standin.add_webhook("relay")
        url = pydantic.SecretStr(webhook.url)
        async with single_machine(webhook_url=url, wait_scale=scale) as machine:
            yield Relay(machine, webhook, scale)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def _patient_relay() -> AsyncIterator[Relay]:
    async for relay in _relay(0.1):
        yield relay


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def _hasty_relay() -> AsyncIterator[Relay]:
    async for relay in _relay(0.0):
        yield relay


@pytest_asyncio.fixture(loop_scope="module")
async def relay(_patient_relay: Relay) -> Relay:
    """A second of waiting lasts a tenth."""
    _patient_relay.forget()
    return _patient_relay


@pytest_asyncio.fixture(loop_scope="module")
async def hasty_relay(_hasty_relay: Relay) -> Relay:
    """Nothing is waited for, so that even the longest patience ends soon."""
    _hasty_relay.forget()
    return _hasty_relay
