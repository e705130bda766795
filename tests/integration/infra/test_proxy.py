"""The webhook proxy: the request that reaches the webhook, and the answer that comes back."""

from collections.abc import Iterator
from typing import Any

import pytest

from infra.local.aws import EmbeddedAws
from tests.integration.infra.relay import Answer, Relay, Webhook, new_relay, send, unique


@pytest.fixture
def own(aws: EmbeddedAws, webhook: Webhook) -> Relay:
    """A relay with a scripted webhook."""
    return new_relay(aws, webhook)


def _notify(relay: Relay) -> dict[str, Any]:
    name = unique("notify")
    assert relay.start(name).status == 200
    return relay.finished(name)


def test_posts_to_exact_webhook_url(own: Relay) -> None:
    """With wait=true, so that Discord answers with the message."""
    _notify(own)

    (posted,) = own.webhook.posted
    assert (posted.method, posted.path) == ("POST", "/api/webhooks/1234/t0ken-of_webhook?wait=true")


def test_sends_required_user_agent(own: Relay) -> None:
    _notify(own)

    headers = own.webhook.posted[0].headers
    assert headers["user-agent"].startswith("DiscordBot (https://")
    assert headers["content-type"] == "application/json"
    assert headers["host"] in own.webhook.url


def test_deleted_webhook_fails_at_once(own: Relay) -> None:
    own.webhook.status = 404
    own.webhook.body = b'{"message": "Unknown Webhook", "code": 10015}'

    execution = _notify(own)

    assert execution["status"] == "FAILED"
    assert "Unknown Webhook" in execution["cause"]
    assert len(own.webhook.posted) == 1


def test_burst_posts_every_message(own: Relay) -> None:
    names = [unique(f"burst{number}") for number in range(60)]
    for name in names:
        assert own.start(name).status == 200

    assert {own.finished(name)["status"] for name in names} == {"SUCCEEDED"}
    assert len(own.webhook.posted) == 60


class OpenApi:
    """An HTTP API with a public HTTP_PROXY route, for features that the relay does not use."""

    def __init__(self, aws: EmbeddedAws, webhook: Webhook) -> None:
        self._apis = aws.client("apigatewayv2")
        self._webhook = webhook
        self._id = self._apis.create_api(Name=unique("open"), ProtocolType="HTTP")["ApiId"]
        self._apis.create_stage(ApiId=self._id, StageName="$default", AutoDeploy=True)
        self.url = aws.api_url(self._id) + "/in"

    def call(self, mapping: dict[str, str] | None = None, *, query: str = "", **integration: Any) -> Answer:
        given = {
            "IntegrationType": "HTTP_PROXY",
            "IntegrationMethod": "POST",
            "IntegrationUri": self._webhook.url,
            "PayloadFormatVersion": "1.0",
            "RequestParameters": mapping or {},
        }
        made = self._apis.create_integration(ApiId=self._id, **(given | integration))
        target = f"integrations/{made['IntegrationId']}"
        route = self._apis.create_route(ApiId=self._id, RouteKey="POST /in", Target=target)
        answer = send(self.url + query, {"X-Mine": "mine", "User-Agent": "tester"}, b"body")
        self._apis.delete_route(ApiId=self._id, RouteId=route["RouteId"])
        return answer

    def delete(self) -> None:
        self._apis.delete_api(ApiId=self._id)


@pytest.fixture
def open_api(aws: EmbeddedAws, webhook: Webhook) -> Iterator[OpenApi]:
    api = OpenApi(aws, webhook)
    yield api
    api.delete()


def test_passes_request_unchanged(open_api: OpenApi, webhook: Webhook) -> None:
    assert open_api.call(query="?a=1&a=%20%26").status == 200

    (posted,) = webhook.posted
    assert (posted.method, posted.body) == ("POST", b"body")
    assert posted.path.endswith("?a=1&a=+%26")
    assert (posted.headers["x-mine"], posted.headers["user-agent"]) == ("mine", "tester")


@pytest.mark.parametrize(
    ("mapping", "header", "value"),
    [
        ({"overwrite:header.X-Mine": "theirs"}, "x-mine", "theirs"),
        ({"append:header.X-Mine": "theirs"}, "x-mine", "mine,theirs"),
        ({"remove:header.X-Mine": "''"}, "x-mine", None),
        ({"overwrite:header.User-Agent": "DiscordBot (https://example.org, 1)"}, "user-agent",
         "DiscordBot (https://example.org, 1)"),
        ({"overwrite:header.X-Copy": "$request.header.x-mine"}, "x-copy", "mine"),
    ],
)  # fmt: skip
def test_maps_headers(
    open_api: OpenApi, webhook: Webhook, mapping: dict[str, str], header: str, value: str | None
) -> None:
    open_api.call(mapping)

    assert webhook.posted[0].headers.get(header) == value


@pytest.mark.parametrize(
    ("mapping", "query"),
    [
        ({"overwrite:querystring.wait": "true"}, "wait=true"),
        ({"append:querystring.wait": "true"}, "wait=false&wait=true"),
        ({"remove:querystring.wait": "''"}, ""),
    ],
)
def test_maps_query(open_api: OpenApi, webhook: Webhook, mapping: dict[str, str], query: str) -> None:
    open_api.call(mapping, query="?wait=false")

    assert webhook.posted[0].path.partition("?")[2] == query


def test_maps_path(open_api: OpenApi, webhook: Webhook) -> None:
    open_api.call({"overwrite:path": "/other/path"})

    assert webhook.posted[0].path == "/other/path"


@pytest.mark.parametrize(("configured", "method"), [("PUT", "PUT"), ("ANY", "POST")])
def test_uses_integration_method(open_api: OpenApi, webhook: Webhook, configured: str, method: str) -> None:
    open_api.call(IntegrationMethod=configured)

    assert webhook.posted[0].method == method


def test_returns_redirect_with_headers(open_api: OpenApi, webhook: Webhook) -> None:
    """The proxy must not follow a redirect; the caller has to see it."""
    webhook.status = 302
    webhook.headers |= {"Location": webhook.url + "/elsewhere", "X-RateLimit-Remaining": "4"}

    answer = open_api.call()

    assert answer.status == 302
    assert answer.headers["location"] == webhook.url + "/elsewhere"
    assert answer.headers["x-ratelimit-remaining"] == "4"
    assert len(webhook.posted) == 1


def test_times_out_after_integration_timeout(open_api: OpenApi, webhook: Webhook) -> None:
    webhook.answering.clear()

    answer = open_api.call(TimeoutInMillis=100)

    assert (answer.status, answer.json()) == (503, {"message": "Service Unavailable"})


def test_unreachable_backend_is_503(open_api: OpenApi) -> None:
    """The answer tells neither the address nor the reason."""
    with Webhook() as gone:
        url = gone.url

    answer = open_api.call(IntegrationUri=url)

    assert (answer.status, answer.json()) == (503, {"message": "Service Unavailable"})
