"""The metrics that a running relay reports."""

from pathlib import Path
from typing import Any

from botocore.credentials import ReadOnlyCredentials

from bot.api.target import FixedCredentials, Target
from bot.app import open_relay
from bot.settings.settings import Settings
from bot.telemetry.metrics import METRICS

NAMES = {metric.name for metric in METRICS}
ACTIVITY = "arn:aws:states:us-east-1:123456789012:activity:relay-actions"


async def reported(directory: Path, **settings: Any) -> set[str]:
    """Return the names that a relay reports which is open and not connected."""
    values = {
        "discord_token": "x",
        "api_endpoint": "https://api.invalid",
        "data_dir": directory,
        "actions": ("send",),
        "activity_arn": ACTIVITY,
        **settings,
    }
    target = Target("https://api.invalid", "us-east-1", FixedCredentials(ReadOnlyCredentials("x", "x", None)))
    async with open_relay(Settings(_env_file=None, **values), target) as relay:
        return set(relay.metrics())


async def test_reports_every_metric(tmp_path: Path) -> None:
    """The table and the relay name the same metrics."""
    assert await reported(tmp_path) == NAMES


async def test_no_actions_without_any_allowed(tmp_path: Path) -> None:
    none = {"actions_done_total", "actions_refused_total", "actions_running"}

    assert await reported(tmp_path, actions=()) == NAMES - none


async def test_no_heartbeat_age_without_heartbeats(tmp_path: Path) -> None:
    assert await reported(tmp_path, heartbeat_s=0) == NAMES - {"heartbeat_age_s"}
