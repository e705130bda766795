"""A machine whose settings a test writes."""

import os
from pathlib import Path

import pytest

from bot.errors import SettingsError
from bot.settings.settings import Settings, load_settings
from bot.settings.sources import PREFIX

TOKEN = "MTE3NzE5ODM0MjM0MzQzMDA.GabcdE.a-secret-part-of-27-chars-xx"
ENDPOINT = "https://a1b2c3.execute-api.eu-central-1.amazonaws.com"
WEBHOOK = "https://discord.com/api/webhooks/127121515262115840/a-secret_webhook-token"


class Machine:
    """The three sources of settings, with only a token and an endpoint in them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.env_file = folder / ".env"
        self.secrets = folder / "secrets"
        self.secrets.mkdir()
        self._monkeypatch = monkeypatch
        for name in os.environ:
            if name.startswith(PREFIX):
                monkeypatch.delenv(name)
        self.set(DISCORD_TOKEN=TOKEN, API_ENDPOINT=ENDPOINT, SECRETS_DIR=str(self.secrets))

    def set(self, **values: str | None) -> None:
        for name, value in values.items():
            if value is None:
                self._monkeypatch.delenv(PREFIX + name, raising=False)
            else:
                self._monkeypatch.setenv(PREFIX + name, value)

    def load(self) -> Settings:
        return load_settings(env_file=self.env_file)

    def problems(self) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            self.load()
        return list(caught.value.problems)
