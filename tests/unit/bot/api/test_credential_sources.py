"""Where credentials are found, and what is said where they are not."""

import json
import sys
from pathlib import Path

import pytest

from bot.errors import TemporaryFailure, Unauthorized
from tests.support.credentials import Container, make_credentials, use_environment


def config(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)


SSO = """
sso_start_url = https://x.awsapps.com/start
sso_region = eu-west-1
sso_account_id = 1
sso_role_name = r
"""


async def test_finds_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    use_environment(monkeypatch)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-1")
    secrets: list[str] = []
    found = await make_credentials(secrets.append).get()
    assert tuple(found)[:3] == ("AKIA-1", "secret-1", "token-1")
    assert set(secrets) == {"AKIA-1", "secret-1", "token-1"}


async def test_finds_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").write_text(
        "[relay]\naws_access_key_id = AKIA-P\naws_secret_access_key = secret-p\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "relay")
    assert (await make_credentials().get()).access_key == "AKIA-P"


async def test_finds_credential_process(tmp_path: Path) -> None:
    answer = {"Version": 1, "AccessKeyId": "AKIA-X", "SecretAccessKey": "secret-x"}
    (tmp_path / "give.py").write_text(f"print({json.dumps(answer)!r})")
    process = f"{sys.executable} {tmp_path / 'give.py'}"
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {process}\n")
    assert (await make_credentials().get()).secret_key == "secret-x"


async def test_finds_container(container: Container) -> None:
    secrets: list[str] = []
    found = await make_credentials(secrets.append).get()
    assert tuple(found)[:3] == ("ASIA-1", "secret-1", "token-1")
    assert set(secrets) == {"ASIA-1", "secret-1", "token-1"}


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
async def test_line_break_is_unauthorized(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    use_environment(monkeypatch)
    monkeypatch.setenv(name, "half\nhalf")
    with pytest.raises(Unauthorized, match="line break") as caught:
        await make_credentials().get()
    assert "half" not in str(caught.value)


async def test_failing_endpoint_is_temporary(container: Container) -> None:
    container.status = 404
    with pytest.raises(TemporaryFailure, match="returned none: check the container") as caught:
        await make_credentials().get()
    assert "a-private-detail" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("text", "environment", "kind", "match"),
    [
        ("", {"AWS_PROFILE": "gone"}, Unauthorized, "profile that is not in the AWS config files"),
        ("", {"AWS_ACCESS_KEY_ID": "AKIA"}, Unauthorized, "incomplete"),
        (f"[default]{SSO}", {}, Unauthorized, "aws sso login"),
        ("[default\n", {}, Unauthorized, "config files are not usable"),
        ("[default]\nrole_arn = r\nsource_profile = gone\n", {}, Unauthorized, "config files are not usable"),
        (
            "[default]\nrole_arn = r\ncredential_source = Moon\n",
            {},
            Unauthorized,
            "config files are not usable",
        ),
        (
            "[default]\ncredential_process = /nonexistent\n",
            {},
            TemporaryFailure,
            "credential_process by hand",
        ),
        (f"[default]\ncredential_process = {sys.executable} -c 1\n", {}, TemporaryFailure, "by hand"),
    ],
)
async def test_explains_wrong_configuration(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    environment: dict[str, str],
    kind: type[Exception],
    match: str,
) -> None:
    config(tmp_path, text)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(kind, match=match):
        await make_credentials().get()
