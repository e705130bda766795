"""Where Step Functions is, as AWS's own settings say."""

import pytest
from botocore.session import Session

from bot.api.activities import resolve_states_url
from bot.errors import SettingsError


@pytest.fixture(autouse=True)
def _no_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SFN"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("region", "url"),
    [
        ("eu-central-1", "https://states.eu-central-1.amazonaws.com"),
        ("cn-north-1", "https://states.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "https://states.us-gov-west-1.amazonaws.com"),
    ],
)
def test_partition_decides(region: str, url: str) -> None:
    assert resolve_states_url(region) == url


def test_aws_settings_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert resolve_states_url("eu-central-1") == "http://127.0.0.1:1"
    monkeypatch.setenv("AWS_ENDPOINT_URL_SFN", "http://127.0.0.1:2")
    assert resolve_states_url("eu-central-1") == "http://127.0.0.1:2"


def test_looks_for_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore would ask the instance's metadata service, and wait for it."""

    def refuse(_: Session) -> None:
        raise AssertionError

    monkeypatch.setattr(Session, "get_credentials", refuse)
    resolve_states_url("eu-central-1")


def test_impossible_region_is_settings_error() -> None:
    with pytest.raises(SettingsError, match="the address of Step Functions in not a region is not known"):
        resolve_states_url("not a region")
