"""The systemd unit agrees with the settings, the exit codes and the way the relay stops."""

from collections import defaultdict
from pathlib import Path

import pytest

from bot.settings.settings import Settings
from tests.support.footprint import needed_mib

UNIT = Path(__file__).parents[3] / "infra/systemd/voice-relay.service"


def options(wanted: str) -> dict[str, list[str]]:
    """Return the options of a section of the unit; one may be given several times."""
    found = defaultdict(list)
    section = ""
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == wanted and "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[name].append(value)
    return found


@pytest.fixture
def service() -> dict[str, list[str]]:
    return options("[Service]")


def test_secrets_are_settings(service: dict[str, list[str]]) -> None:
    """systemd names a credential after the directory's id and the file; README names the files."""
    (loaded,) = service["LoadCredential"]
    prefix, directory = loaded.split(":")
    readme = (UNIT.parents[2] / "README.md").read_text()
    assert f"-t {directory} secrets/*" in readme
    for name in ("discord_token", "webhook_url"):
        assert f"secrets/{name}" in readme
        assert f"{prefix}_{name}".removeprefix("voice_relay_") in Settings.model_fields
    assert "VOICE_RELAY_SECRETS_DIR=%d" in service["Environment"]


def test_data_outlives_the_service(service: dict[str, list[str]]) -> None:
    (state,) = service["StateDirectory"]
    assert f"VOICE_RELAY_DATA_DIR=%S/{state}" in service["Environment"]
    assert service["ProtectSystem"] == ["strict"]


def test_waits_longer_than_the_relay(service: dict[str, list[str]]) -> None:
    (timeout,) = service["TimeoutStopSec"]
    assert float(timeout.removesuffix("s")) > Settings.model_fields["shutdown_grace_s"].default + 5


def test_restarts_unless_misconfigured(service: dict[str, list[str]]) -> None:
    """Exit code 2 means wrong settings, which a restart does not mend."""
    assert service["Restart"] == ["on-failure"]
    assert service["RestartPreventExitStatus"] == ["2"]
    assert service["SuccessExitStatus"] == ["130"]


def test_restarts_back_off(service: dict[str, list[str]]) -> None:
    """An hour of crashes stays below the start limit, and a day of them below Discord's thousand logins."""
    unit = options("[Unit]")
    assert unit["StartLimitIntervalSec"] == ["1h"]
    (steps,), (first,), (last,) = (
        service["RestartSteps"],
        service["RestartSec"],
        service["RestartMaxDelaySec"],
    )
    first_s, last_s = float(first.removesuffix("s")), float(last.removesuffix("min")) * 60
    starts = [0.0]
    while starts[-1] < 86_400:
        growth = min((len(starts) - 1) / int(steps), 1)
        starts.append(starts[-1] + first_s * (last_s / first_s) ** growth)

    assert len([at for at in starts if at < 3_600]) <= int(unit["StartLimitBurst"][0])
    assert len(starts) < 500


def test_limits_memory_and_tasks(service: dict[str, list[str]]) -> None:
    assert service["MemoryMax"] == ["1G"]
    assert service["MemorySwapMax"] == ["0"]
    (tasks,) = map(int, service["TasksMax"])
    assert needed_mib(tasks) < 1024
    assert tasks >= 1_000 + 256


def test_gains_no_privileges(service: dict[str, list[str]]) -> None:
    assert service["User"] == ["voice-relay"]
    assert service["CapabilityBoundingSet"] == [""]
    assert service["NoNewPrivileges"] == ["yes"]
