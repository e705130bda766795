"""``voice-relay deploy`` and ``outputs``, as they are typed."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from infra.local.aws import EmbeddedAws
from tests.integration.infra.operating import Operator, Terminal, keys_of, relay_of
from tests.integration.infra.relay import Webhook, unique


def test_deploys_usable_relay(aws: EmbeddedAws, operator: Operator, webhook: Webhook) -> None:
    Path("webhook").write_text(webhook.url)

    ran = operator.deploy("--webhook-file", "webhook", "--create-access-key")

    assert ran.code == 0, ran.err
    assert operator.values()["VOICE_RELAY_API_ENDPOINT"] == operator.outputs()["ApiEndpoint"]
    relay = relay_of(aws, webhook, operator)
    name = unique("first")
    assert relay.start(name).status == 200
    assert relay.finished(name)["status"] == "SUCCEEDED"
    assert len(webhook.posted) == 1


def test_second_deployment_changes_nothing(aws: EmbeddedAws, operator: Operator) -> None:
    operator.deploy("--webhook-file", "webhook", "--create-access-key")
    before = operator.env.read_bytes()

    ran = operator.deploy("--webhook-file", "webhook", "--create-access-key")

    assert ran.code == 0
    assert "There is nothing to change." in ran.out
    assert operator.env.read_bytes() == before
    assert keys_of(aws, f"{operator.stack}-bot") == [operator.values()["AWS_ACCESS_KEY_ID"]]


def test_keeps_rest_of_env_file(operator: Operator) -> None:
    operator.env.write_bytes(b"# mine\r\nVOICE_RELAY_API_ENDPOINT=https://old.example  # old\r\nX='1'\r\n")
    operator.env.chmod(0o640)

    ran = operator.deploy("--webhook-file", "webhook")

    assert "(it was https://old.example)" in ran.out
    endpoint = operator.outputs()["ApiEndpoint"].encode()
    assert operator.env.read_bytes().startswith(
        b"# mine\r\nVOICE_RELAY_API_ENDPOINT=" + endpoint + b"  # old\r\nX='1'\r\n"
    )
    assert operator.env.stat().st_mode & 0o777 == 0o640


def test_hands_over_the_activity(operator: Operator) -> None:
    """A stack without one leaves none behind, so that the bot does not poll what is gone."""
    name = "VOICE_RELAY_ACTIVITY_ARN"
    operator.deploy("--webhook-file", "webhook")
    assert name not in operator.values()

    ran = operator.deploy("--webhook-file", "webhook", "--parameter", "Actions=true")
    assert operator.values()[name] == operator.outputs()["ActionsActivityArn"]
    assert "no action for workflows until VOICE_RELAY_ACTIONS in .env names it" in ran.err

    operator.deploy("--webhook-file", "webhook", "--parameter", "Actions=false")
    assert operator.values()[name] == ""


def test_reports_missing_env_directory(operator: Operator) -> None:
    ran = operator.deploy("--webhook-file", "webhook", "--env-file", "nowhere/.env")

    assert ran.code == 1
    assert "nowhere/.env cannot be written: there is no directory " in ran.err


def test_no_env_writes_nothing(operator: Operator) -> None:
    assert operator.deploy("--webhook-file", "webhook", "--no-env").code == 0

    assert not operator.env.exists()


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_anything_but_yes_changes_nothing(
    aws: EmbeddedAws, operator: Operator, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))

    ran = operator.run("deploy", "--webhook-file", "webhook")

    assert ran.code == 1
    assert "add          AWS::ApiGatewayV2::Api" in ran.out
    assert "Deploy this? [y/N]" in ran.err
    assert f"stack {operator.stack}: nothing was changed" in ran.err
    stacks = aws.client("cloudformation").list_stacks()["StackSummaries"]
    assert operator.stack not in {
        each["StackName"] for each in stacks if each["StackStatus"] != "DELETE_COMPLETE"
    }
    secrets = aws.client("secretsmanager").list_secrets()["SecretList"]
    assert f"{operator.stack}/webhooks" not in {secret["Name"] for secret in secrets}
    assert not operator.env.exists()


def test_interrupted_confirmation_changes_nothing(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(terminal, "readline", lambda: _interrupt())
    monkeypatch.setattr(sys, "stdin", terminal)

    ran = operator.run("deploy", "--webhook-file", "webhook")

    assert ran.code == 130
    assert "voice-relay: nothing was changed\n" in ran.err
    assert operator.run("outputs").code == 1


def _interrupt(*_: object) -> str:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "confirmation needs a terminal"),
        (("--yes", "--no-env", "--create-access-key"), "leave out --no-env"),
        (("--yes", "--no-wait", "--rotate-access-key"), "leave out --no-wait"),
        (("--yes", "--create-access-key", "--parameter", "CreateBotUser=false"), "leave out --parameter"),
        (("--yes", "--webhook-file", "none"), "none cannot be read: No such file"),
        (("--yes", "--webhook-file", "bad"), "the webhook of default must be an https URL"),
        (
            ("--yes", "--webhook-file", "webhook", "--webhook-file", "default=webhook"),
            "two files",
        ),
        (("--yes", "--role-arn", "deployer"), "--role-arn must be a role's ARN"),
        (("--stack-name", "bad name"), "--stack-name 'bad name' is not a stack name"),
        (("--yes", "--webhook-file", "webhook", "--parameter", "Nosuch=1"), "no parameter Nosuch"),
        (("service", "--yes"), "give --parameter VpcId=…, --parameter SubnetId=…"),
        (("monitoring", "--yes", "--destination", "mods"), "--destination applies to the relay only"),
    ],
)
def test_refuses_wrong_usage_first(operator: Operator, arguments: Sequence[str], sentence: str) -> None:
    Path("bad").write_text("t0ken-in-the-wrong-place")

    ran = operator.run("deploy", *arguments)

    assert ran.code == 2
    assert sentence in ran.err
    assert "t0ken" not in ran.err


def test_no_wait_says_how_to_look(aws: EmbeddedAws, operator: Operator) -> None:
    ran = operator.deploy("--webhook-file", "webhook", "--no-wait")

    assert ran.code == 0
    assert "describe-stack-events --stack-name arn:aws:cloudformation:us-east-1:" in ran.out
    assert f":stack/{operator.stack}/" in ran.out
    assert "--region us-east-1; once it is done, the same command again without --no-wait writes" in ran.out
    assert not operator.env.exists()
    aws.client("cloudformation").get_waiter("stack_create_complete").wait(
        StackName=operator.stack, WaiterConfig={"Delay": 0.1, "MaxAttempts": 100}
    )
    assert operator.deploy().code == 0
    assert "VOICE_RELAY_API_ENDPOINT" in operator.values()


def test_monitoring_needs_relay_stack(operator: Operator) -> None:
    ran = operator.deploy("monitoring", "--relay-stack", "voice-rely")

    assert ran.code == 1
    assert "no stack voice-rely in us-east-1" in ran.err
    assert "deploy the relay first, or name its stack with --relay-stack" in ran.err


def test_monitoring_names_next_steps(operator: Operator) -> None:
    relay = Operator(f"{operator.stack}-relay", operator.env.parent, operator._capsys)
    relay.deploy("--webhook-file", "webhook")
    monitoring = ("monitoring", "--relay-stack", relay.stack)

    ran = operator.deploy(*monitoring, "--parameter", "AlertEmail=ops@example.org")

    assert ran.code == 0, ran.err
    assert "DashboardUrl  https://" in ran.out
    assert "AWS has sent a mail to ops@example.org: confirm" in ran.out
    assert "AWS has sent a mail" not in operator.deploy(*monitoring).out
    assert operator.run("destroy", "monitoring", "--yes").code == 0
    assert relay.run("destroy", "--yes").code == 0
