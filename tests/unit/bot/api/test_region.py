"""The region that requests are signed for."""

from pathlib import Path

import pytest

from bot.api.region import resolve_region
from bot.errors import SettingsError

ENDPOINT = "https://a1.execute-api.ap-south-1.amazonaws.com"


@pytest.mark.parametrize(
    ("endpoint", "configured", "region"),
    [
        (ENDPOINT, None, "ap-south-1"),
        ("https://relay.example.com", "eu-west-3", "eu-west-3"),
        ("https://relay.example.com", None, "sa-east-1"),
    ],
)
def test_configured_then_endpoint_then_aws(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, configured: str | None, region: str
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "sa-east-1")
    assert resolve_region(endpoint, configured) == region


def test_aws_region_before_default_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "sa-east-1")
    assert resolve_region("https://relay.example.com", None) == "eu-north-1"


def test_reads_region_of_profile(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[default]\nregion = ca-west-1\n")
    assert resolve_region("http://127.0.0.1:1", None) == "ca-west-1"


def test_no_region_is_settings_error() -> None:
    with pytest.raises(SettingsError, match="VOICE_RELAY_AWS_REGION is not set"):
        resolve_region("http://127.0.0.1:1", None)


def test_missing_profile_is_settings_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "gone")
    with pytest.raises(SettingsError, match="AWS_PROFILE"):
        resolve_region("http://127.0.0.1:1", None)
