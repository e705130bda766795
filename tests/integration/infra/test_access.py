"""Access to the APIs: each accepts only the principal that it is for."""

import datetime as dt
import json
from collections.abc import Callable

import botocore.auth
import pytest

from infra.local.aws.credentials import Credentials
from infra.local.aws.hooks.asgi_client import sign
from tests.integration.infra.relay import Relay, batch, send, unique


def _assumed(relay: Relay, logical_id: str) -> Credentials:
    """Return temporary credentials of one of the stack's roles, by letting root assume it."""
    iam = relay.aws.client("iam")
    resources = relay.aws.client("cloudformation").describe_stack_resource(
        StackName=relay.stack_name, LogicalResourceId=logical_id
    )
    name = resources["StackResourceDetail"]["PhysicalResourceId"]
    role = iam.get_role(RoleName=name)["Role"]
    trust = role["AssumeRolePolicyDocument"]
    root = {"AWS": f"arn:aws:iam::{relay.aws.account_id}:root"}
    extended = {
        **trust,
        "Statement": [
            *trust["Statement"],
            {"Effect": "Allow", "Principal": root, "Action": "sts:AssumeRole"},
        ],
    }
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(extended))
    try:
        answer = relay.aws.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="test")[
            "Credentials"
        ]
    finally:
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))
    return Credentials(answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"])


def _stranger(relay: Relay) -> Credentials:
    """Create a user of the same account without any policy."""
    iam = relay.aws.client("iam")
    name = unique("stranger")
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Credentials(key["AccessKeyId"], key["SecretAccessKey"])


def test_bot_starts_posting_execution(relay: Relay) -> None:
    """The intended path, to its end."""
    name = unique("intended")
    relay.webhook.posted.clear()

    answer = relay.start(name)

    assert answer.status == 200
    assert answer.json()["executionArn"] == relay.execution_arn(name)
    assert isinstance(answer.json()["startDate"], float)
    execution = relay.finished(name)
    assert execution["status"] == "SUCCEEDED"
    assert execution["input"].encode() == batch(name)
    (posted,) = relay.webhook.posted
    assert "<@80351110224678912>" in json.loads(posted.body)["embeds"][0]["description"]


def test_accepts_temporary_credentials(relay: Relay) -> None:
    """Containers and instances sign with a session token; here the proxy's own caller does."""
    answer = relay.post(relay.proxy_url, b"{}", who=_assumed(relay, "PostingRole"))

    assert answer.status == 200


@pytest.mark.parametrize("url", [lambda relay: relay.ingress_url, lambda relay: relay.proxy_url])
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="unsigned"),
        pytest.param({"Authorization": "Bearer x"}, id="bearer token"),
        pytest.param({"Authorization": "AWS4-HMAC-SHA256 Credential=test/x"}, id="incomplete signature"),
    ],
)
def test_refuses_unsigned_request(relay: Relay, url: Callable[[Relay], str], headers: dict[str, str]) -> None:
    answer = send(url(relay), {"Content-Type": "application/json", "Execution-Name": "x", **headers}, b"{}")

    assert (answer.status, answer.body) == (403, b'{"message":"Forbidden"}')


@pytest.mark.parametrize(
    "key_id", [pytest.param("test", id="test"), pytest.param("000000000000", id="an account id")]
)
def test_refuses_ministack_root_keys(relay: Relay, key_id: str) -> None:
    answer = relay.start(unique("root"), who=Credentials(key_id, "test"))

    assert (answer.status, answer.body) == (403, b'{"message":"Forbidden"}')


@pytest.mark.parametrize(
    ("who", "url"),
    [
        pytest.param(_stranger, lambda relay: relay.ingress_url, id="no policy, ingress"),
        pytest.param(_stranger, lambda relay: relay.proxy_url, id="no policy, proxy"),
        pytest.param(lambda relay: relay.bot, lambda relay: relay.proxy_url, id="bot, proxy"),
        pytest.param(
            lambda relay: _assumed(relay, "PostingRole"),
            lambda relay: relay.ingress_url,
            id="state machine's role, ingress",
        ),
        pytest.param(
            lambda relay: _assumed(relay, "IngressIntegrationRole"),
            lambda relay: relay.ingress_url,
            id="integration's role, ingress",
        ),
        pytest.param(
            lambda relay: _assumed(relay, "IngressIntegrationRole"),
            lambda relay: relay.proxy_url,
            id="integration's role, proxy",
        ),
    ],
)
def test_refuses_principal_without_policy(
    relay: Relay, who: Callable[[Relay], Credentials], url: Callable[[Relay], str]
) -> None:
    answer = relay.post(url(relay), b"{}", {"Execution-Name": unique("refused")}, who=who(relay))

    assert (answer.status, answer.body) == (403, b'{"message":"Forbidden"}')


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            lambda who: Credentials(who.access_key_id, who.secret_access_key + "x"), id="wrong secret"
        ),
        pytest.param(
            lambda who: Credentials("AKIAUNKNOWNUNKNOWN00", who.secret_access_key), id="unknown key"
        ),
        pytest.param(
            lambda who: Credentials(who.access_key_id, who.secret_access_key, "token"), id="unexpected token"
        ),
    ],
)
def test_refuses_wrong_credentials(relay: Relay, change: Callable[[Credentials], Credentials]) -> None:
    answer = relay.start(unique("refused"), who=change(relay.bot))

    assert (answer.status, answer.body) == (403, b'{"message":"Forbidden"}')


def test_refuses_changed_body(relay: Relay) -> None:
    name = unique("swapped")
    url = relay.ingress_url
    headers = sign(
        "POST",
        url,
        {"Execution-Name": name},
        batch(name),
        service="execute-api",
        region=relay.aws.region,
        who=relay.bot,
    )

    answer = send(url, headers, batch(name).replace(b"Nelly", b"Molly"))

    assert (answer.status, answer.body) == (403, b'{"message":"Forbidden"}')


@pytest.mark.parametrize(("service", "region"), [("states", "us-east-1"), ("execute-api", "eu-west-1")])
def test_refuses_other_service_or_region(relay: Relay, service: str, region: str) -> None:
    name = unique("elsewhere")
    url = relay.ingress_url
    headers = sign(
        "POST", url, {"Execution-Name": name}, batch(name), service=service, region=region, who=relay.bot
    )

    answer = send(url, headers, batch(name))

    assert (answer.status, answer.body) == (403, b'{"message":"Forbidden"}')


@pytest.mark.parametrize("minutes", [-6, 6])
def test_refuses_wrong_clock(relay: Relay, monkeypatch: pytest.MonkeyPatch, minutes: int) -> None:
    """A clock that is more than five minutes off is refused, and the answer has the time."""
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(minutes=minutes)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: now)

    answer = relay.start(unique("late"))

    assert (answer.status, answer.body) == (403, b'{"message":"Forbidden"}')
    # The client compares its clock with this header.
    assert "GMT" in answer.headers["date"]


@pytest.mark.parametrize("path", ["/workflows/other", "/workflows", "/", "/workflows/notify/more"])
def test_unknown_route_is_404(relay: Relay, path: str) -> None:
    """For signed and unsigned requests alike."""
    url = relay.aws.api_url(relay.outputs["IngressApiId"]) + path

    assert relay.post(url, b"{}").status == 404
    assert send(url, {}, b"{}").status == 404


def test_bot_has_no_other_permissions(relay: Relay) -> None:
    """It cannot read the secret or roles, nor start an execution directly."""
    calls: list[Callable[[], object]] = [
        lambda: relay.aws.client("secretsmanager", relay.bot).get_secret_value(
            SecretId=f"{relay.stack_name}/webhooks"
        ),
        lambda: relay.aws.client("stepfunctions", relay.bot).start_execution(
            stateMachineArn=relay.outputs["NotifyStateMachineArn"]
        ),
        lambda: relay.aws.client("iam", relay.bot).list_roles(),
        lambda: relay.aws.client("apigatewayv2", relay.bot).get_integrations(
            ApiId=relay.outputs["ProxyApiId"]
        ),
    ]
    for call in calls:
        with pytest.raises(Exception, match="AccessDenied"):
            call()
