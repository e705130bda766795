"""AWS's own settings in ``.env`` and in files, which count unless the environment has them."""

import os
from pathlib import Path

import botocore.exceptions as aws
import pytest
from botocore.session import Session

from bot.api.credentials import ChainCredentials
from bot.api.region import resolve_region
from bot.errors import Unauthorized
from bot.settings.aws import open_session

KEYS = "AWS_ACCESS_KEY_ID=AKIA-FILE\nAWS_SECRET_ACCESS_KEY=secret-of-the-file\n"


class Machine:
    """A machine whose environment, profiles and metadata have nothing for AWS."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.env_file = folder / ".env"
        self.secrets = folder / "secrets"
        self.secrets.mkdir()
        self.credentials = folder / "credentials"
        self._monkeypatch = monkeypatch
        for name in os.environ:
            if name.startswith("AWS_"):
                monkeypatch.delenv(name)
        self.set(
            AWS_EC2_METADATA_DISABLED="true",
            AWS_CONFIG_FILE=str(folder / "config"),
            AWS_SHARED_CREDENTIALS_FILE=str(self.credentials),
            VOICE_RELAY_SECRETS_DIR=str(self.secrets),
        )

    def set(self, **values: str) -> None:
        for name, value in values.items():
            self._monkeypatch.setenv(name, value)

    def open(self) -> Session:
        return open_session(self.env_file)

    def found(self) -> tuple[str | None, ...] | None:
        credentials = self.open().get_credentials()
        if credentials is None:
            return None
        frozen = credentials.get_frozen_credentials()
        return frozen.access_key, frozen.secret_key, frozen.token


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_finds_key_in_env_file(machine: Machine) -> None:
    machine.env_file.write_text(KEYS + "VOICE_RELAY_DATA_DIR=x\n")
    assert machine.found() == ("AKIA-FILE", "secret-of-the-file", None)


def test_finds_token_in_env_file(machine: Machine) -> None:
    machine.env_file.write_text(KEYS + "AWS_SESSION_TOKEN='the token'\n")
    assert machine.found() == ("AKIA-FILE", "secret-of-the-file", "the token")


def test_finds_key_in_secrets(machine: Machine) -> None:
    (machine.secrets / "aws_access_key_id").write_text("AKIA-SECRETS\n")
    (machine.secrets / "AWS_SECRET_ACCESS_KEY").write_text("secret-of-secrets\n")
    assert machine.found() == ("AKIA-SECRETS", "secret-of-secrets", None)


def test_finds_profile_in_env_file(machine: Machine) -> None:
    machine.credentials.write_text("[relay]\naws_access_key_id = AKIA-P\naws_secret_access_key = secret-p\n")
    machine.env_file.write_text("AWS_PROFILE=relay\n")
    assert machine.found() == ("AKIA-P", "secret-p", None)


def test_key_before_profile(machine: Machine) -> None:
    machine.env_file.write_text(KEYS + "AWS_PROFILE=nobody\n")
    assert machine.found() == ("AKIA-FILE", "secret-of-the-file", None)
    # botocore would raise if it looked for the profile.
    assert machine.open().get_config_variable("region") is None


def test_falls_back_to_chain(machine: Machine) -> None:
    machine.credentials.write_text(
        "[default]\naws_access_key_id = AKIA-D\naws_secret_access_key = secret-d\n"
    )
    machine.env_file.write_text("AWS_ACCESS_KEY_ID=\nAWS_SECRET_ACCESS_KEY=\nAWS_PROFILE=\n")
    assert machine.found() == ("AKIA-D", "secret-d", None)


@pytest.mark.parametrize("file_is", ["there", "not there"])
def test_environment_before_file(machine: Machine, file_is: str) -> None:
    if file_is == "there":
        machine.env_file.write_text(KEYS + "AWS_SESSION_TOKEN=token-of-the-file\n")
    machine.set(AWS_ACCESS_KEY_ID="AKIA-ENV", AWS_SECRET_ACCESS_KEY="secret-env")
    assert machine.found() == ("AKIA-ENV", "secret-env", None)


def test_environment_profile_before_file_key(machine: Machine) -> None:
    """An operator who sets a profile for one command does not mean the bot's key."""
    machine.credentials.write_text("[ops]\naws_access_key_id = AKIA-O\naws_secret_access_key = secret-o\n")
    machine.env_file.write_text(KEYS)
    machine.set(AWS_PROFILE="ops")
    assert machine.found() == ("AKIA-O", "secret-o", None)


@pytest.mark.parametrize(
    "name",
    [
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ],
)
def test_environment_role_before_file_key(machine: Machine, name: str) -> None:
    machine.env_file.write_text(KEYS)
    machine.set(**{name: "/somewhere"})
    # No role is requested: it is enough that the file's key is absent.
    assert vars(machine.open())["_credentials"] is None


def test_sources_are_not_mixed(machine: Machine) -> None:
    """A key id is useless with the secret of another key."""
    machine.env_file.write_text("AWS_ACCESS_KEY_ID=AKIA-FILE\n")
    (machine.secrets / "aws_secret_access_key").write_text("secret-of-another-key")
    with pytest.raises(aws.PartialCredentialsError):
        machine.open()


@pytest.mark.parametrize("line", KEYS.splitlines())
async def test_explains_half_a_key(machine: Machine, line: str) -> None:
    machine.env_file.write_text(line)
    credentials = ChainCredentials(add_secret=lambda _: None, open_session=machine.open)
    with pytest.raises(Unauthorized, match="incomplete AWS credentials: set both"):
        await credentials.get()


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_finds_region_in_env_file(machine: Machine, name: str) -> None:
    machine.env_file.write_text(f"{name}=eu-north-1\n")
    assert resolve_region("https://relay.example.com", None, open_session=machine.open) == "eu-north-1"


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_environment_region_before_file(machine: Machine, name: str) -> None:
    machine.env_file.write_text("AWS_REGION=eu-north-1\nAWS_DEFAULT_REGION=eu-north-1\n")
    machine.set(**{name: "eu-west-3"})
    assert resolve_region("https://relay.example.com", None, open_session=machine.open) == "eu-west-3"


async def test_forget_reads_rotated_key(machine: Machine) -> None:
    """A key can be rotated without a restart: after the API refuses the old one, the file is read again."""
    machine.env_file.write_text(KEYS)
    secrets: list[str] = []
    credentials = ChainCredentials(add_secret=secrets.append, open_session=machine.open)
    assert (await credentials.get()).access_key == "AKIA-FILE"
    machine.env_file.write_text(KEYS.replace("FILE", "NEW").replace("of-the-file", "that-is-new"))
    assert (await credentials.get()).access_key == "AKIA-FILE"
    credentials.forget()
    assert (await credentials.get()).secret_key == "secret-that-is-new"
    assert {"secret-of-the-file", "secret-that-is-new"} <= set(secrets)
