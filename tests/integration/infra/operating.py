"""Runs the command line against the embedded AWS.

botocore's own AWS_ENDPOINT_URL points to it; the commands do not know.
"""

import functools
import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import botocore.loaders
import pydantic
import pytest

from bot.api import webhook as discord_webhook
from bot.cli import main as cli
from bot.cli import webhook_check
from bot.errors import DeliveryError
from infra.deploy.destroy import destroy
from infra.local.aws import EmbeddedAws
from infra.local.aws.credentials import Credentials
from tests.integration.infra.relay import POLL_S, Relay, Webhook, unique

URL = "https://discord.com/api/webhooks/123456/t0ken-of_a-webhook"

_LOADER = functools.cache(botocore.loaders.create_loader)


@dataclass(frozen=True)
class Ran:
    """A command's exit code and output."""

    code: int
    out: str
    err: str


class Terminal(io.StringIO):
    """A terminal on which this text is typed."""

    def isatty(self) -> bool:
        return True


class Operator:
    """Runs commands for one stack in its own directory."""

    def __init__(self, stack: str, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.stack = stack
        self.env = directory / ".env"
        self._capsys = capsys

    def run(self, command: str, *arguments: str) -> Ran:
        return self.run_bare(command, "--stack-name", self.stack, *arguments)

    def run_bare(self, *arguments: str) -> Ran:
        self._capsys.readouterr()
        code = cli.main(arguments)
        return Ran(code, *self._capsys.readouterr())

    def deploy(self, *arguments: str) -> Ran:
        return self.run("deploy", "--yes", *arguments)

    def outputs(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.run("outputs", "--json").out)
        return found

    def values(self) -> dict[str, str]:
        lines = self.env.read_text().splitlines() if self.env.exists() else []
        return dict(line.split("=", 1) for line in lines)


@contextmanager
def operating(
    aws: EmbeddedAws, directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Operator]:
    """An operator without a terminal, with a webhook file; the stack is destroyed afterwards."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "VOICE_RELAY_WEBHOOK_URL"):
        monkeypatch.delenv(name, raising=False)
    become(monkeypatch, aws, aws.admin)
    # Else botocore reads each service's model again for every command.
    monkeypatch.setattr("botocore.session.create_loader", _LOADER)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    answer_about_webhooks(monkeypatch, None)
    monkeypatch.chdir(directory)
    (directory / "webhook").write_text(URL + "\n")
    name = unique("stack")
    yield Operator(name, directory, capsys)
    destroy(aws.client, stack_name=name, poll_s=POLL_S)


def answer_about_webhooks(monkeypatch: pytest.MonkeyPatch, error: DeliveryError | None) -> None:
    """Answer in Discord's place, which no test asks, that it knows every webhook; or raise *error*."""

    async def ask(_: pydantic.SecretStr) -> discord_webhook.Webhook:
        if error is not None:
            raise error
        return discord_webhook.Webhook(guild_id=None)

    monkeypatch.setattr(webhook_check, "ask_webhook", ask)


def become(monkeypatch: pytest.MonkeyPatch, aws: EmbeddedAws, who: Credentials) -> None:
    for name, value in (
        ("AWS_ENDPOINT_URL", aws.endpoint_url),
        ("AWS_ACCESS_KEY_ID", who.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", who.secret_access_key),
        ("AWS_DEFAULT_REGION", aws.region),
        ("AWS_CONFIG_FILE", "none"),
        ("AWS_SHARED_CREDENTIALS_FILE", "none"),
    ):
        monkeypatch.setenv(name, value)


def keys_of(aws: EmbeddedAws, user: str) -> list[str]:
    iam = aws.client("iam")
    try:
        found = iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
    except iam.exceptions.NoSuchEntityException:
        return []
    return [key["AccessKeyId"] for key in found]


def relay_of(aws: EmbeddedAws, webhook: Webhook, operator: Operator) -> Relay:
    """The relay as the bot sees it, with the key from .env."""
    values = operator.values()
    bot = Credentials(values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"])
    return Relay(aws, webhook, operator.stack, operator.outputs(), bot)
