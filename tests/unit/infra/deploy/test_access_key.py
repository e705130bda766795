"""The file that the bot's access key is in is its owner's alone."""

import stat
from pathlib import Path
from typing import Any

from infra.deploy.access_key import AccessKeys, ensure_key
from infra.deploy.env_file import EnvFile

USER = "voice-relay-bot"


class Iam:
    """IAM with one key of the user; it notes who could read *file* when a key was made."""

    def __init__(self, file: Path) -> None:
        self.modes: list[int] = []
        self._file = file

    def get_paginator(self, _: str) -> Any:
        return self

    def paginate(self, **_: str) -> list[Any]:
        return [{"AccessKeyMetadata": [{"AccessKeyId": "AKIAHELD"}]}]

    def create_access_key(self, **_: str) -> Any:
        self.modes.append(stat.S_IMODE(self._file.stat().st_mode))
        return {"AccessKey": {"AccessKeyId": "AKIANEW", "SecretAccessKey": "new"}}


def test_kept_key_closes_file(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("AWS_ACCESS_KEY_ID=AKIAHELD\nAWS_SECRET_ACCESS_KEY=held\n")
    path.chmod(0o644)
    iam = Iam(path)
    (said,) = ensure_key(AccessKeys(iam, USER), EnvFile(path), rotate=False)
    assert said.endswith(f"already has an access key of the user {USER}.")
    assert (stat.S_IMODE(path.stat().st_mode), iam.modes) == (0o600, [])


def test_new_key_finds_closed_file(tmp_path: Path) -> None:
    """It is closed before the key exists."""
    path = tmp_path / ".env"
    path.write_text("A=1\n")
    path.chmod(0o644)
    iam = Iam(path)
    ensure_key(AccessKeys(iam, USER), EnvFile(path), rotate=False)
    assert iam.modes == [0o600]
    assert EnvFile(path).values()["AWS_SECRET_ACCESS_KEY"] == "new"
