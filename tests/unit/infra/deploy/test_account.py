"""Which region is meant, and what is said where AWS cannot be asked."""

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


def test_says_that_there_are_no_credentials() -> None:
    with pytest.raises(
        DeployError, match=r"AWS in eu-central-1: there are no AWS credentials: .*aws configure"
    ):
        open_account(profile=None, region="eu-central-1", known_region=None)


def test_takes_the_region_of_the_relay_that_is_known() -> None:
    with pytest.raises(DeployError, match="AWS in eu-west-1: there are no AWS credentials"):
        open_account(profile=None, region=None, known_region="eu-west-1")


def test_says_that_no_region_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^AWS: no AWS region is named: .*--region"):
        open_account(profile=None, region=None, known_region=None)


def test_asks_which_of_two_regions_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a second relay would come up where nobody looks for it."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    with pytest.raises(SettingsError, match="--region eu-west-1 or --region us-east-1"):
        open_account(profile=None, region=None, known_region="eu-west-1")


def test_a_region_that_is_named_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    with pytest.raises(DeployError, match="AWS in us-west-2: there are no"):
        open_account(profile=None, region="us-west-2", known_region="eu-west-1")


def test_says_which_region_may_be_meant() -> None:
    with pytest.raises(
        DeployError, match=r"eu-centrl-1 is no region known here: did you mean eu-central-1\?"
    ):
        open_account(profile=None, region="eu-centrl-1", known_region=None)


def test_names_every_region_that_is_as_near() -> None:
    with pytest.raises(DeployError, match=r"did you mean us-east-1 or us-west-1\?"):
        open_account(profile=None, region="us-est-1", known_region=None)


def test_what_cannot_be_a_region_is_said_to_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="not the name of a region"):
        open_account(profile=None, region="eu central 1", known_region=None)


def test_says_that_a_profile_is_unknown() -> None:
    with pytest.raises(SettingsError, match=r"no such AWS profile: .*list-profiles"):
        open_account(profile="nobody", region="eu-central-1", known_region=None)
