"""Restrictions on callers: source addresses, CORS origins and the stack's own user."""

import json
import socket
import sys
from collections.abc import Iterator

import pydantic
import pytest

from infra.deploy.engine import DeployOptions, deploy
from infra.local.aws import EmbeddedAws
from infra.local.aws.credentials import Credentials
from tests.integration.infra.relay import POLL_S, Answer, Relay, Webhook, batch, new_relay, send, unique

FORBIDDEN = (403, b'{"message":"Forbidden"}')
ORIGIN = "https://relay.example"


def _is_here(address: str) -> bool:
    """Whether *address* can be bound: Linux has all of 127/8, macOS only 127.0.0.1."""
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


needs_two_addresses = pytest.mark.skipif(
    sys.platform != "linux" and not _is_here("127.0.0.2"), reason="needs a second loopback address"
)


@pytest.fixture(scope="module")
def fenced(aws: EmbeddedAws) -> Iterator[Relay]:
    """A relay for callers from two ranges: this machine's usual address, and an unused one."""
    with Webhook() as webhook:
        yield new_relay(aws, webhook, parameters={"AllowedCidrs": "203.0.113.0/24,127.0.0.1/32"})


def _each_call(relay: Relay, source_ip: str) -> list[Answer]:
    """Call each route as a principal that may use it."""
    arn = relay.execution_arn("none")
    naming = json.dumps({"executionArn": arn}).encode()
    workflows = ("notify", "digest", "heartbeat")
    starts = [
        relay.post(
            relay.url(f"/workflows/{workflow}"),
            batch("x"),
            {"Execution-Name": unique("from")},
            source_ip=source_ip,
        )
        for workflow in workflows
    ]
    asks = [
        relay.post(relay.url("/executions/status"), naming, who=who, source_ip=source_ip)
        for who in (relay.bot, relay.operator)
    ]
    signal = relay.post(relay.url("/executions/signal"), b"{}", source_ip=source_ip)
    stop = relay.post(relay.url("/executions/stop"), naming, who=relay.operator, source_ip=source_ip)
    return [*starts, *asks, signal, stop]


def test_allows_calls_from_allowed_address(fenced: Relay) -> None:
    statuses = [answer.status for answer in _each_call(fenced, "127.0.0.1")]

    # Step Functions answers 400, because the execution to stop does not exist.
    assert statuses == [200, 200, 200, 200, 200, 200, 400]


@needs_two_addresses
def test_refuses_calls_from_other_address(fenced: Relay) -> None:
    for answer in _each_call(fenced, "127.0.0.2"):
        assert (answer.status, answer.body) == FORBIDDEN


@needs_two_addresses
def test_ignores_x_forwarded_for(fenced: Relay) -> None:
    """Callers can put anything into that header."""
    headers = {"Execution-Name": unique("forwarded"), "X-Forwarded-For": "127.0.0.1"}

    answer = fenced.post(fenced.ingress_url, batch("x"), headers, source_ip="127.0.0.2")

    assert (answer.status, answer.body) == FORBIDDEN


def test_refuses_after_ranges_change(aws: EmbeddedAws, webhook: Webhook) -> None:
    """Running workflows still post, because they do not call the ingress."""
    relay = new_relay(aws, webhook)
    name = unique("before")
    arn = relay.start(name).json()["executionArn"]
    deploy(
        aws.client,
        webhook_url=None,
        stack_name=relay.stack_name,
        parameters={"AllowedCidrs": "203.0.113.7/32"},
        options=DeployOptions(poll_s=POLL_S),
    )

    for answer in _each_call(relay, "127.0.0.1"):
        assert (answer.status, answer.body) == FORBIDDEN
    aws.client("stepfunctions").start_execution(
        stateMachineArn=relay.outputs["NotifyStateMachineArn"], name="within", input=batch("x").decode()
    )
    assert relay.finished("within")["status"] == "SUCCEEDED"
    assert arn.endswith(name)


@needs_two_addresses
def test_allows_any_address_by_default(relay: Relay) -> None:
    assert {answer.status for answer in _each_call(relay, "127.0.0.2")} == {200, 400}


def _preflight(relay: Relay, origin: str) -> Answer:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,execution-name,x-amz-date",
    }
    return send(relay.ingress_url, headers, b"", method="OPTIONS")


@pytest.fixture(scope="module")
def browsed(aws: EmbeddedAws) -> Iterator[Relay]:
    """A relay that allows two origins."""
    with Webhook() as webhook:
        yield new_relay(aws, webhook, parameters={"CorsOrigins": f"{ORIGIN},http://localhost:5173"})


@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:5173"])
def test_preflight_allows_configured_origin(origin: str, browsed: Relay) -> None:
    answer = _preflight(browsed, origin)

    assert answer.status in (200, 204)
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert set(answer.headers["access-control-allow-headers"].split(",")) == {
        "authorization",
        "content-type",
        "execution-name",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-security-token",
    }
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "https://relay.example.evil.example", "null"])
def test_preflight_refuses_other_origins(origin: str, browsed: Relay) -> None:
    assert "access-control-allow-origin" not in _preflight(browsed, origin).headers


def test_preflight_refuses_by_default(relay: Relay) -> None:
    assert "access-control-allow-origin" not in _preflight(relay, ORIGIN).headers


def test_pages_must_sign(browsed: Relay) -> None:
    name = unique("page")

    signed = browsed.post(browsed.ingress_url, batch(name), {"Execution-Name": name, "Origin": ORIGIN})
    unsigned = send(browsed.ingress_url, {"Execution-Name": name, "Origin": ORIGIN}, batch(name))

    assert (signed.status, signed.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert unsigned.status == 403


def test_creates_bot_user_without_key(aws: EmbeddedAws, webhook: Webhook) -> None:
    """The user has the bot's policy and no access key."""
    relay = new_relay(aws, webhook, parameters={"CreateBotUser": "true"})
    iam = aws.client("iam")
    user = relay.outputs["BotUserName"]

    assert user == f"{relay.stack_name}-bot"
    assert iam.list_access_keys(UserName=user)["AccessKeyMetadata"] == []
    attached = iam.list_attached_user_policies(UserName=user)["AttachedPolicies"]
    assert [policy["PolicyArn"] for policy in attached] == [relay.outputs["BotPolicyArn"]]
    key = iam.create_access_key(UserName=user)["AccessKey"]
    bot = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
    assert relay.start(unique("own"), who=bot).status == 200
    assert relay.stop(relay.execution_arn("none"), who=bot).status == 403


def test_creates_no_user_by_default(relay: Relay) -> None:
    assert "BotUserName" not in relay.outputs
    names = {user["UserName"] for user in relay.aws.client("iam").list_users()["Users"]}
    assert f"{relay.stack_name}-bot" not in names


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("AllowedCidrs", "everywhere"),
        ("AllowedCidrs", "127.0.0.1"),
        ("CorsOrigins", "*"),
        ("CorsOrigins", "https://relay.example/page"),
        ("CreateBotUser", "yes"),
        ("DigestDelaySeconds", "86401"),
        ("Tracing", "on"),
    ],
)
def test_refuses_invalid_parameters(parameter: str, value: str, aws: EmbeddedAws, webhook: Webhook) -> None:
    with pytest.raises(Exception, match=parameter):
        deploy(
            aws.client,
            webhook_url=pydantic.SecretStr(webhook.url),
            stack_name=unique("refused"),
            parameters={parameter: value},
            options=DeployOptions(poll_s=POLL_S),
        )
