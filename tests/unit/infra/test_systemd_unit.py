"""The systemd unit agrees with the settings, the exit codes and the way the relay stops."""

from collections import defaultdict
from pathlib import Path

import pytest

from bot.settings.settings import Settings

UNIT = Path(__file__).parents[3] / "infra/systemd/voice-relay.service"


@pytest.fixture
def service() -> dict[str, list[str]]:
    """The unit's ``[Service]`` options; one may be given several times."""
    options = defaultdict(list)
    section = ""
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            options[name].append(value)
    return options


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


def test_gains_no_privileges(service: dict[str, list[str]]) -> None:
    assert service["User"] == ["voice-relay"]
    assert service["CapabilityBoundingSet"] == [""]
    assert service["NoNewPrivileges"] == ["yes"]
