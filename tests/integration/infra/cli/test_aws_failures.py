"""What AWS refuses or does not answer ends in a sentence and a next step."""

import json

import pytest

from infra.deploy.stack import Stack
from infra.local.aws import EmbeddedAws
from infra.local.aws.credentials import Credentials
from tests.integration.infra.operating import Operator, become
from tests.integration.infra.relay import Webhook, unique


def _user(aws: EmbeddedAws, *actions: str) -> Credentials:
    iam, name = aws.client("iam"), unique("operator")
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="some", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Credentials(key["AccessKeyId"], key["SecretAccessKey"])


def _error(code: str) -> bytes:
    details = f"<Type>Sender</Type><Code>{code}</Code><Message>refused</Message>"
    return f"<ErrorResponse><Error>{details}</Error><RequestId>1</RequestId></ErrorResponse>".encode()


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
