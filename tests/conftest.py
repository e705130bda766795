"""What every test has in common."""

import logging

import pytest
import structlog


@pytest.fixture(autouse=True)
def _quiet_logs() -> None:
    """Keep structlog's lines below warning out of the captured output."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
