"""One embedded AWS with one relay, shared by the tests in this folder."""

from collections.abc import Iterator

import pytest

from infra.local.aws import EmbeddedAws
from tests.integration.infra.relay import Relay, Webhook, new_relay


@pytest.fixture(scope="session")
def aws() -> Iterator[EmbeddedAws]:
    with EmbeddedAws(wait_scale=0) as aws:
        yield aws


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """A webhook for one test to script."""
    with Webhook() as webhook:
        yield webhook


@pytest.fixture(scope="session")
def relay(aws: EmbeddedAws) -> Iterator[Relay]:
    """The unchanged template, deployed once; its webhook answers every message with 200."""
    with Webhook() as webhook:
        yield new_relay(aws, webhook)
