"""deploy finds out the webhook of each destination, and refuses what cannot be one."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bot.errors import Rejected, TemporaryFailure
from infra.local.aws import EmbeddedAws
from tests.integration.infra.operating import URL, Operator, Terminal, answer_about_webhooks, relay_of
from tests.integration.infra.relay import Webhook, batch, unique


def _webhooks(aws: EmbeddedAws, operator: Operator) -> dict[str, str]:
    held = aws.client("secretsmanager").get_secret_value(SecretId=f"{operator.stack}/webhooks")
    urls: dict[str, str] = json.loads(held["SecretString"])
    return urls


def test_uses_webhook_setting_once(
    aws: EmbeddedAws, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later values may belong to another relay, such as one on a developer's machine."""
    operator.env.write_text(f"VOICE_RELAY_WEBHOOK_URL={URL}\n")
    operator.deploy()
    operator.env.write_text(f"VOICE_RELAY_WEBHOOK_URL={URL}-of-another\n")

    ran = operator.deploy()

    assert "There is nothing to change." in ran.out
    assert _webhooks(aws, operator) == {"default": URL}


def test_asks_for_missing_webhook(
    aws: EmbeddedAws, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def type_hidden(prompt: str) -> str:
        asked.append(prompt)
        return ["http://not.secure", f" {URL} "][len(asked) - 1]

    monkeypatch.setattr("getpass.getpass", type_hidden)
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))

    ran = operator.run("deploy")

    assert ran.code == 0, ran.err
    assert len(asked) == 2
    assert "a webhook must be an https URL" in ran.err
    assert _webhooks(aws, operator) == {"default": URL}


@pytest.mark.parametrize(
    ("answer", "code", "sentence"),
    [
        (EOFError(), 1, "no webhook of the destination default was given: nothing was changed"),
        (KeyboardInterrupt(), 130, "nothing was changed"),
    ],
)
def test_unanswered_webhook_question_changes_nothing(
    operator: Operator,
    monkeypatch: pytest.MonkeyPatch,
    answer: BaseException,
    code: int,
    sentence: str,
) -> None:
    def break_off(_: str) -> str:
        raise answer

    monkeypatch.setattr("getpass.getpass", break_off)
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))

    ran = operator.run("deploy")

    assert ran.code == code
    assert f"voice-relay: {sentence}\n" in ran.err
    assert operator.run("outputs").code == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://discord.com/channels/123456/123456",
        "https://example.org/x",
        "https://discord.com/api/webhooks/name/token",
        "https://discord.com/api/webhooks/123456",
    ],
)
def test_refuses_invalid_webhook(operator: Operator, url: str) -> None:
    Path("webhook").write_text(url)

    ran = operator.deploy("--webhook-file", "webhook")

    assert ran.code == 2
    assert "the webhook of default must be an https URL like" in ran.err
    assert url not in ran.err


@pytest.mark.parametrize(
    "url",
    [
        "https://discord.com/api/v10/webhooks/123456/t0k-en",
        "https://proxy.example.org/discord/api/webhooks/123456/t0k_en",
    ],
)
def test_accepts_versioned_and_proxied_webhooks(aws: EmbeddedAws, operator: Operator, url: str) -> None:
    Path("webhook").write_text(url)

    assert operator.deploy("--webhook-file", "webhook").code == 0
    assert _webhooks(aws, operator) == {"default": url}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--remove-destination", "raid"), "there is no destination raid; the stack has default"),
        (("--renew-webhook", "nope"), "there is no destination nope; the stack has default"),
        (("--destination", "a-b"), "'a-b' is not a valid destination name"),
    ],
)
def test_refuses_invalid_destination(operator: Operator, arguments: Sequence[str], sentence: str) -> None:
    operator.deploy("--webhook-file", "webhook")

    ran = operator.deploy(*arguments)

    assert ran.code == 2
    assert sentence in ran.err


def test_adds_and_removes_destination(aws: EmbeddedAws, operator: Operator, webhook: Webhook) -> None:
    Path("webhook").write_text(webhook.url)
    operator.deploy("--webhook-file", "webhook", "--create-access-key")
    with Webhook() as mods:
        Path("mods").write_text(mods.url)

        ran = operator.deploy("--webhook-file", "mods=mods")

        assert "Destinations: default -> default,mods" in ran.out
        assert "mods (new)" in ran.out
        relay = relay_of(aws, webhook, operator)
        for destination in ("mods", "default"):
            name = unique(destination)
            body = batch(name).replace(
                b'"destination": "default"', f'"destination": "{destination}"'.encode()
            )
            assert relay.start(name, body).status == 200
            assert relay.finished(name)["status"] == "SUCCEEDED"
        assert (len(mods.posted), len(webhook.posted)) == (1, 1)

    assert operator.values()["VOICE_RELAY_DESTINATIONS"] == "default,mods"
    ran = operator.deploy("--remove-destination", "mods")

    assert operator.values()["VOICE_RELAY_DESTINATIONS"] == "default"
    assert "REMOVE       AWS::ApiGatewayV2::Route" in ran.out
    assert _webhooks(aws, operator) == {"default": webhook.url}


def test_refuses_destination_without_webhook(aws: EmbeddedAws, operator: Operator) -> None:
    operator.deploy("--webhook-file", "webhook")
    cloudformation = aws.client("cloudformation")
    before = cloudformation.describe_stack_events(StackName=operator.stack)["StackEvents"]

    ran = operator.deploy("--destination", "mods")

    assert ran.code == 1
    assert "destination mods has no webhook: pass --webhook-file mods=FILE" in ran.err
    assert cloudformation.describe_stack_events(StackName=operator.stack)["StackEvents"] == before
    assert _webhooks(aws, operator) == {"default": URL}


def test_adopts_webhook_from_secret(aws: EmbeddedAws, operator: Operator) -> None:
    operator.deploy("--webhook-file", "webhook")
    edited = json.dumps({"default": URL, "mods": f"{URL}-mods"})
    aws.client("secretsmanager").put_secret_value(SecretId=f"{operator.stack}/webhooks", SecretString=edited)

    assert operator.deploy("--destination", "mods").code == 0

    integrations = aws.client("apigatewayv2").get_integrations(ApiId=operator.outputs()["ProxyApiId"])[
        "Items"
    ]
    assert {each["IntegrationUri"] for each in integrations} == {URL, f"{URL}-mods"}


@pytest.mark.parametrize("options", [(), ("--webhook-file", "webhook")])
def test_refuses_gone_webhook(
    aws: EmbeddedAws, operator: Operator, monkeypatch: pytest.MonkeyPatch, options: Sequence[str]
) -> None:
    """Before anything is created, wherever the URL comes from."""
    operator.env.write_text(f"VOICE_RELAY_WEBHOOK_URL={URL}\n")
    answer_about_webhooks(monkeypatch, Rejected("the webhook does not exist (any more)", status=404))

    ran = operator.deploy(*options)

    assert ran.code == 2
    assert "the webhook of the destination default: Discord refuses it: the webhook does not exist" in ran.err
    assert "nothing was changed: make a webhook in the channel's settings" in ran.err
    assert URL not in ran.out + ran.err
    with pytest.raises(aws.client("cloudformation").exceptions.ClientError):
        aws.client("cloudformation").describe_stacks(StackName=operator.stack)
    with pytest.raises(aws.client("secretsmanager").exceptions.ClientError):
        _webhooks(aws, operator)


def test_deploys_without_asking_discord(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that deploys need not reach Discord."""
    answer_about_webhooks(monkeypatch, TemporaryFailure("cannot reach Discord: no route"))

    ran = operator.deploy("--webhook-file", "webhook")

    assert ran.code == 0
    assert "the webhook of the destination default was not checked: cannot reach Discord: no route" in ran.err
