"""Resolving the region, and the errors if AWS cannot be asked."""

import pytest

from bot.errors import SettingsError
from infra.deploy.account import open_account
from infra.deploy.aws_errors import DeployError


@pytest.fixture(autouse=True)
def _no_aws_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    for name in (
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_PROFILE",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, f"{tmp_path}/none")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def test_reports_missing_credentials() -> None:
    with pytest.raises(DeployError, match=r"AWS in eu-central-1: no AWS credentials found: .*aws configure"):
        open_account(profile=None, region="eu-central-1", known_region=None)


def test_uses_known_region() -> None:
    with pytest.raises(DeployError, match="AWS in eu-west-1: no AWS credentials found"):
        open_account(profile=None, region=None, known_region="eu-west-1")


def test_reports_missing_region() -> None:
    with pytest.raises(SettingsError, match=r"^AWS: no AWS region is set: .*--region"):
        open_account(profile=None, region=None, known_region=None)


def test_refuses_conflicting_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a second relay would appear in an unexpected region."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    with pytest.raises(SettingsError, match="--region eu-west-1 or --region us-east-1"):
        open_account(profile=None, region=None, known_region="eu-west-1")


def test_explicit_region_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    with pytest.raises(DeployError, match="AWS in us-west-2: no AWS credentials found"):
        open_account(profile=None, region="us-west-2", known_region="eu-west-1")


def test_suggests_closest_region() -> None:
    with pytest.raises(DeployError, match=r"eu-centrl-1 is not a known region: did you mean eu-central-1\?"):
        open_account(profile=None, region="eu-centrl-1", known_region=None)


def test_suggests_every_tied_region() -> None:
    with pytest.raises(DeployError, match=r"did you mean us-east-1 or us-west-1\?"):
        open_account(profile=None, region="us-est-1", known_region=None)


def test_reports_invalid_region_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="not a valid region name"):
        open_account(profile=None, region="eu central 1", known_region=None)


def test_reports_unknown_profile() -> None:
    with pytest.raises(SettingsError, match=r"no such AWS profile: .*list-profiles"):
        open_account(profile="nobody", region="eu-central-1", known_region=None)
