"""What every test has in common."""

import logging

import pytest
import structlog
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# For the fuzz targets of `make soak`: pytest --hypothesis-profile=soak tests/fuzz
settings.register_profile("soak", settings.get_profile("tests"), max_examples=5000)
settings.load_profile("tests")


@pytest.fixture(autouse=True)
def _quiet_logs() -> None:
    """Keep structlog's lines below warning out of the captured output."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
