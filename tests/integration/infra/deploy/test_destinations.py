"""Several destinations: each message goes to its channel; a new one needs a secret key and a name."""

import json
from collections.abc import Iterator, Mapping

import pytest

from infra.local.aws import EmbeddedAws
from tests.integration.infra.relay import ChangeFailed, Relay, Webhook, batch, change, new_relay, unique


@pytest.fixture
def mods() -> Iterator[Webhook]:
    with Webhook() as webhook:
        yield webhook


def _hold(relay: Relay, urls: Mapping[str, str]) -> str:
    """Write the secret directly, as its owner could, and return the version."""
    secrets = relay.aws.client("secretsmanager")
    put = secrets.put_secret_value(SecretId=f"{relay.stack_name}/webhooks", SecretString=json.dumps(urls))
    return str(put["VersionId"])


def _add_mods(relay: Relay, mods: Webhook) -> None:
    version = _hold(relay, {"default": relay.webhook.url, "mods": mods.url})
    change(relay, {"Destinations": "default,mods", "WebhookSecretVersion": version})


def _post(relay: Relay, destination: str, workflow: str = "notify") -> str:
    name = unique(destination)
    assert relay.start(name, batch(name, destination), workflow=workflow).status == 200
    return str(relay.finished(name, workflow)["status"])


@pytest.mark.parametrize("workflow", ["notify", "digest"])
def test_routes_messages_by_destination(
    workflow: str, aws: EmbeddedAws, webhook: Webhook, mods: Webhook
) -> None:
    relay = new_relay(aws, webhook)
    _add_mods(relay, mods)

    assert _post(relay, "mods", workflow) == "SUCCEEDED"
    assert (len(webhook.posted), len(mods.posted)) == (0, 1)
    assert _post(relay, "default", workflow) == "SUCCEEDED"
    assert (len(webhook.posted), len(mods.posted)) == (1, 1)
    assert "wait=true" in mods.posted[0].path


def test_adding_one_keeps_other_routes(aws: EmbeddedAws, webhook: Webhook, mods: Webhook) -> None:
    relay = new_relay(aws, webhook)
    apis = aws.client("apigatewayv2")

    def routes() -> dict[str, str]:
        found = apis.get_routes(ApiId=relay.outputs["ProxyApiId"])["Items"]
        return {route["RouteKey"]: route["RouteId"] for route in found}

    before = routes()
    _add_mods(relay, mods)

    after = routes()
    assert after.keys() - before.keys() == {"POST /destinations/mods"}
    assert {key: after[key] for key in before} == before


def test_removed_destination_is_refused(aws: EmbeddedAws, webhook: Webhook, mods: Webhook) -> None:
    """Executions for a removed destination fail; the others still post."""
    relay = new_relay(aws, webhook)
    _add_mods(relay, mods)
    change(relay, {"Destinations": "default"})

    assert _post(relay, "mods") == "FAILED"
    assert _post(relay, "default") == "SUCCEEDED"
    assert (len(webhook.posted), len(mods.posted)) == (1, 0)


def test_new_url_needs_new_version(aws: EmbeddedAws, webhook: Webhook, mods: Webhook) -> None:
    """A new URL takes effect once the parameter names the secret's new version."""
    relay = new_relay(aws, webhook)
    version = _hold(relay, {"default": mods.url})

    assert _post(relay, "default") == "SUCCEEDED"
    assert (len(webhook.posted), len(mods.posted)) == (1, 0)
    change(relay, {"WebhookSecretVersion": version})
    assert _post(relay, "default") == "SUCCEEDED"
    assert (len(webhook.posted), len(mods.posted)) == (1, 1)


def test_missing_secret_key_fails_update(aws: EmbeddedAws, webhook: Webhook) -> None:
    """An update without the destination's key fails, and the stack works as before."""
    relay = new_relay(aws, webhook)

    with pytest.raises(ChangeFailed, match="ops"):
        change(relay, {"Destinations": "default,ops"})

    assert _post(relay, "default") == "SUCCEEDED"


@pytest.mark.parametrize("name", ["two words", "a-b", "a.b", "über", "x" * 17, "a/b"])
def test_refuses_invalid_names(name: str, relay: Relay) -> None:
    with pytest.raises(ChangeFailed, match="Destinations"):
        change(relay, {"Destinations": f"default,{name}"})


def test_only_workflows_may_post(aws: EmbeddedAws, webhook: Webhook, mods: Webhook) -> None:
    relay = new_relay(aws, webhook)
    _add_mods(relay, mods)
    url = f"{aws.api_url(relay.outputs['ProxyApiId'])}/destinations/mods"

    assert {relay.post(url, b"{}", who=who).status for who in (relay.bot, relay.operator)} == {403}
    assert mods.posted == []
