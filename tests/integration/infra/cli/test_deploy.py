"""``voice-relay deploy`` and ``outputs``, as they are typed."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from infra.deploy.stack import Stack
from infra.local.aws import EmbeddedAws
from infra.local.aws.credentials import Credentials
from tests.integration.infra.operating import URL, Operator, Terminal, become, keys_of, operating, relay_of
from tests.integration.infra.relay import Webhook, batch, unique


@pytest.fixture
def operator(
    aws: EmbeddedAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Operator]:
    with operating(aws, tmp_path, monkeypatch, capsys) as operator:
        yield operator


def _webhooks(aws: EmbeddedAws, operator: Operator) -> dict[str, str]:
    held = aws.client("secretsmanager").get_secret_value(SecretId=f"{operator.stack}/webhooks")
    urls: dict[str, str] = json.loads(held["SecretString"])
    return urls


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


@pytest.mark.parametrize("wish", ["--create-access-key", "--rotate-access-key"])
def test_adds_user_and_key_later(aws: EmbeddedAws, operator: Operator, wish: str) -> None:
    operator.deploy("--webhook-file", "webhook")

    ran = operator.deploy(wish)

    assert ran.code == 0, ran.err
    assert "add          AWS::IAM::User" in ran.out
    assert keys_of(aws, f"{operator.stack}-bot") == [operator.values()["AWS_ACCESS_KEY_ID"]]


def test_reports_missing_bot_user(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = {"ApiEndpoint": "https://x.test", "DestinationNames": "default", "BotPolicyArn": "arn"}
    monkeypatch.setattr(Stack, "outputs", lambda _: outputs)

    ran = operator.deploy("--webhook-file", "webhook", "--create-access-key")

    assert ran.code == 1
    assert f"stack {operator.stack} has no output BotUserName, so no access key was made" in ran.err


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


def test_reports_missing_env_directory(operator: Operator) -> None:
    ran = operator.deploy("--webhook-file", "webhook", "--env-file", "nowhere/.env")

    assert ran.code == 1
    assert "nowhere/.env cannot be written: there is no directory " in ran.err


def test_no_env_writes_nothing(operator: Operator) -> None:
    assert operator.deploy("--webhook-file", "webhook", "--no-env").code == 0

    assert not operator.env.exists()


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


def test_shows_outputs(operator: Operator) -> None:
    operator.deploy("--webhook-file", "webhook")

    assert "IngressAccessLogName    " in operator.run("outputs").out
    elsewhere = operator.run("outputs", "--region", "eu-west-1")
    assert elsewhere.code == 1
    assert f"there is no stack {operator.stack} in eu-west-1 of account" in elsewhere.err
    assert "--region" in elsewhere.err


def _user(aws: EmbeddedAws, *actions: str) -> Credentials:
    iam, name = aws.client("iam"), unique("operator")
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="some", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Credentials(key["AccessKeyId"], key["SecretAccessKey"])


@pytest.mark.parametrize(
    ("allowed", "missing"),
    [
        (("sts:*",), "cloudformation:DescribeStacks"),
        (("sts:*", "cloudformation:Describe*"), "secretsmanager:GetSecretValue"),
        (("sts:*", "cloudformation:*", "secretsmanager:GetSecretValue"), "secretsmanager:CreateSecret"),
    ],
)
def test_names_missing_permission(
    aws: EmbeddedAws,
    operator: Operator,
    monkeypatch: pytest.MonkeyPatch,
    allowed: tuple[str, ...],
    missing: str,
) -> None:
    with monkeypatch.context() as patch:
        become(patch, aws, _user(aws, *allowed))
        ran = operator.deploy("--webhook-file", "webhook")

    assert ran.code == 1
    assert missing in ran.err
    assert "add this permission" in ran.err
    assert ran.err.count("\n") == 1
    assert operator.run("outputs").code == 1


def test_reports_unknown_key(aws: EmbeddedAws, operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        become(patch, aws, Credentials("AKIANOBODYKNOWSTHIS", "x" * 40))
        ran = operator.deploy("--webhook-file", "webhook")

    assert ran.code == 1
    assert "AWS does not know these credentials" in ran.err


def test_reports_unreachable_aws(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        patch.setattr("time.sleep", lambda _: None)
        ran = operator.deploy("--webhook-file", "webhook")

    assert ran.code == 1
    assert "AWS cannot be reached there" in ran.err
    assert ran.err.count("\n") == 1


def _error(code: str) -> bytes:
    details = f"<Type>Sender</Type><Code>{code}</Code><Message>refused</Message>"
    return f"<ErrorResponse><Error>{details}</Error><RequestId>1</RequestId></ErrorResponse>".encode()


@pytest.mark.parametrize(
    ("status", "code", "sentence", "asked"),
    [
        (403, "ExpiredToken", "the AWS credentials have expired: log in again", 1),
        (403, "SignatureDoesNotMatch", "the secret access key is wrong, or this machine's clock is off", 1),
        (400, "Throttling", "AWS still throttles these requests", 6),
        (503, "ServiceUnavailable", "AWS reports an internal error", 6),
    ],
)
def test_explains_aws_errors(
    operator: Operator,
    webhook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
    sentence: str,
    asked: int,
) -> None:
    """Over real HTTP, so that botocore decides what to retry; the embedded AWS never answers these."""
    webhook.status, webhook.body, webhook.headers = status, _error(code), {"Content-Type": "text/xml"}
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", webhook.url.rpartition("/api/")[0])
        patch.setattr("time.sleep", lambda _: None)
        ran = operator.deploy("--webhook-file", "webhook")

    assert ran.code == 1
    assert sentence in ran.err
    assert ran.err.count("\n") == 1
    assert len(webhook.posted) == asked


def test_interrupt_says_that_aws_continues(
    aws: EmbeddedAws, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Stack, "_follow", interrupt)
        ran = operator.deploy("--webhook-file", "webhook")

    assert ran.code == 130
    assert (
        f"stack {operator.stack}: AWS continues with it; see its progress with aws cloudformation" in ran.err
    )
    assert "--region us-east-1; once it is done, the same command again writes" in ran.err
    aws.client("cloudformation").get_waiter("stack_create_complete").wait(
        StackName=operator.stack, WaiterConfig={"Delay": 0.05, "MaxAttempts": 200}
    )


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


@pytest.mark.parametrize("json_asked", [True, False])
def test_outputs_report_stack_status(aws: EmbeddedAws, operator: Operator, json_asked: bool) -> None:
    template = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(StackName=operator.stack, TemplateBody=template)
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=operator.stack, WaiterConfig={"Delay": 0.05, "MaxAttempts": 200}
    )

    ran = operator.run("outputs", *(["--json"] if json_asked else []))

    assert ran.code == 0
    assert ("{}" if json_asked else "has no outputs; its status is CREATE_COMPLETE") in ran.out


def test_outputs_use_region_of_settings(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    operator.env.write_text("VOICE_RELAY_AWS_REGION=eu-west-3\n")

    assert f"there is no stack {operator.stack} in eu-west-3" in operator.run("outputs").err


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
