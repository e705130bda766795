"""deploy makes, rotates and keeps the bot's access key."""

from pathlib import Path

import pytest

from infra.deploy.stack import Stack
from infra.local.aws import EmbeddedAws
from tests.integration.infra.operating import Operator, keys_of, relay_of
from tests.integration.infra.relay import Webhook, unique


@pytest.mark.parametrize("wish", ["--create-access-key", "--rotate-access-key"])
def test_adds_user_and_key_later(aws: EmbeddedAws, operator: Operator, wish: str) -> None:
    operator.deploy("--webhook-file", "webhook")
    operator.env.chmod(0o644)

    ran = operator.deploy(wish)

    assert ran.code == 0, ran.err
    assert operator.env.stat().st_mode & 0o777 == 0o600
    assert "add          AWS::IAM::User" in ran.out
    assert keys_of(aws, f"{operator.stack}-bot") == [operator.values()["AWS_ACCESS_KEY_ID"]]


def test_reports_missing_bot_user(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = {"ApiEndpoint": "https://x.test", "DestinationNames": "default", "BotPolicyArn": "arn"}
    monkeypatch.setattr(Stack, "outputs", lambda _: outputs)

    ran = operator.deploy("--webhook-file", "webhook", "--create-access-key")

    assert ran.code == 1
    assert f"stack {operator.stack} has no output BotUserName, so no access key was made" in ran.err


def test_rotation_replaces_key(aws: EmbeddedAws, operator: Operator, webhook: Webhook) -> None:
    operator.deploy("--webhook-file", "webhook", "--create-access-key")
    old = relay_of(aws, webhook, operator)

    ran = operator.deploy("--rotate-access-key")

    assert ran.code == 0, ran.err
    new = relay_of(aws, webhook, operator)
    assert keys_of(aws, f"{operator.stack}-bot") == [new.bot.access_key_id]
    assert (old.start(unique("old")).status, new.start(unique("new")).status) == (403, 200)
    for text in (ran.out, ran.err):
        assert new.bot.secret_access_key not in text


def test_keeps_foreign_key(operator: Operator) -> None:
    operator.env.write_text("AWS_ACCESS_KEY_ID=AKIASOMEBODYELSES\nAWS_SECRET_ACCESS_KEY=theirs\n")

    ran = operator.deploy("--webhook-file", "webhook", "--create-access-key")

    assert ran.code == 1
    assert "does not belong to the user" in ran.err
    assert operator.values()["AWS_SECRET_ACCESS_KEY"] == "theirs"
    assert operator.run("outputs").code == 1


def test_two_keys_name_remedy(aws: EmbeddedAws, operator: Operator) -> None:
    operator.deploy("--webhook-file", "webhook", "--create-access-key")
    user = f"{operator.stack}-bot"
    other = aws.client("iam").create_access_key(UserName=user)["AccessKey"]["AccessKeyId"]
    before = operator.env.read_bytes()

    ran = operator.deploy("--rotate-access-key")

    assert ran.code == 1
    assert f"aws iam get-access-key-last-used --access-key-id {other}," in ran.err
    assert f"aws iam delete-access-key --user-name {user} --access-key-id {other}" in ran.err
    assert operator.env.read_bytes() == before
    assert operator.deploy("--create-access-key").code == 0


def test_deletes_unwritable_key(
    aws: EmbeddedAws, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.deploy("--webhook-file", "webhook", "--parameter", "CreateBotUser=true")

    def fail(self: Path, target: object) -> Path:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", fail)

    ran = operator.deploy("--create-access-key")

    assert ran.code == 1
    assert ".env cannot be written: Device or resource busy" in ran.err
    assert keys_of(aws, f"{operator.stack}-bot") == []


def test_bot_key_does_not_deploy(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    operator.env.write_text("AWS_ACCESS_KEY_ID=AKIAOFTHEBOT\nAWS_SECRET_ACCESS_KEY=x\n")
    with monkeypatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        ran = operator.deploy("--webhook-file", "webhook")

    assert ran.code == 1
    assert "no AWS credentials found" in ran.err
    assert "(the bot's key in .env is not used for this)" in ran.err
