"""Deploying to the embedded AWS: it changes what differs, keeps the rest, and never shows the webhook URL."""

import copy
import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest

from infra.deploy.destroy import destroy
from infra.deploy.engine import TEMPLATE, DeployError, DeployOptions, StackEvent, deploy, deploy_template
from infra.deploy.template import MAX_INLINE_BYTES, build_template
from infra.local.aws import EmbeddedAws
from infra.local.aws.credentials import Credentials
from tests.integration.infra.relay import POLL_S, Relay, Webhook, unique
from tooling.template_yaml import load_template

URL = pydantic.SecretStr("https://discord.test/api/webhooks/99/s3cret-webhook_token")
WITH_USER = {"CreateBotUser": "true"}


@pytest.fixture
def stack(aws: EmbeddedAws) -> Iterator[str]:
    """The name of a stack, which is destroyed afterwards in whatever state it is."""
    name = unique("stack")
    yield name
    destroy(aws.client, stack_name=name, poll_s=POLL_S)


def _deploy(aws: EmbeddedAws, name: str, **kwargs: Any) -> dict[str, str]:
    given: dict[str, Any] = {"webhook_url": URL, "stack_name": name, "options": DeployOptions(poll_s=POLL_S)}
    return deploy(aws.client, **(given | kwargs))


def _bot_key(aws: EmbeddedAws, outputs: dict[str, str]) -> Credentials:
    key = aws.client("iam").create_access_key(UserName=outputs["BotUserName"])["AccessKey"]
    return Credentials(key["AccessKeyId"], key["SecretAccessKey"])


def _integration_uri(aws: EmbeddedAws, outputs: dict[str, str]) -> str:
    (integration,) = aws.client("apigatewayv2").get_integrations(ApiId=outputs["ProxyApiId"])["Items"]
    return str(integration["IntegrationUri"])


def _mutated(tmp_path: Path, resource: str, **properties: Any) -> Path:
    template = copy.deepcopy(load_template(build_template(TEMPLATE)))
    template["Resources"][resource]["Properties"] |= properties
    path = tmp_path / "mutated.json"
    path.write_text(json.dumps(template))
    return path


def test_creates_stack_and_returns_outputs(aws: EmbeddedAws, stack: str) -> None:
    events: list[StackEvent] = []

    outputs = _deploy(aws, stack, options=DeployOptions(on_event=events.append, poll_s=POLL_S))

    declared = load_template(TEMPLATE.read_text())["Outputs"]
    assert outputs.keys() == {name for name, output in declared.items() if "Condition" not in output}
    assert StackEvent(stack, "AWS::CloudFormation::Stack", "CREATE_COMPLETE", "") in events
    assert _integration_uri(aws, outputs) == URL.get_secret_value()


def test_repeated_deployment_changes_nothing(aws: EmbeddedAws, stack: str) -> None:
    first = _deploy(aws, stack)
    versions = _secret_versions(aws, stack)
    events: list[StackEvent] = []

    assert _deploy(aws, stack, options=DeployOptions(on_event=events.append, poll_s=POLL_S)) == first
    assert events == []
    assert _secret_versions(aws, stack) == versions
    changes = aws.client("cloudformation").list_change_sets(StackName=stack)["Summaries"]
    assert [change["Status"] for change in changes if change["Status"] == "FAILED"] == []


def _secret_versions(aws: EmbeddedAws, stack: str) -> set[str]:
    described = aws.client("secretsmanager").describe_secret(SecretId=f"{stack}/webhooks")
    return set(described["VersionIdsToStages"])


def test_new_webhook_takes_effect(aws: EmbeddedAws, stack: str) -> None:
    """Dynamic references are resolved only when their resource changes, so the version is a parameter."""
    _deploy(aws, stack)
    other = pydantic.SecretStr("https://discord.test/api/webhooks/100/other")

    outputs = _deploy(aws, stack, webhook_url=other)

    assert _integration_uri(aws, outputs) == other.get_secret_value()


def test_keeps_webhook_if_none_given(aws: EmbeddedAws, stack: str) -> None:
    _deploy(aws, stack)

    outputs = _deploy(aws, stack, webhook_url=None)

    assert _integration_uri(aws, outputs) == URL.get_secret_value()


def test_keeps_other_keys_of_secret(aws: EmbeddedAws, stack: str) -> None:
    secrets = aws.client("secretsmanager")
    secrets.create_secret(
        Name=f"{stack}/webhooks", SecretString=json.dumps({"mods": "https://discord.test/m"})
    )

    _deploy(aws, stack)

    held = json.loads(secrets.get_secret_value(SecretId=f"{stack}/webhooks")["SecretString"])
    assert held == {"mods": "https://discord.test/m", "default": URL.get_secret_value()}


def test_keeps_previous_parameters(aws: EmbeddedAws, stack: str) -> None:
    _deploy(aws, stack, parameters={"IngressRateLimit": "7"})

    _deploy(aws, stack, parameters={"IngressBurstLimit": "9"})

    (described,) = aws.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    values = {entry["ParameterKey"]: entry["ParameterValue"] for entry in described["Parameters"]}
    assert (values["IngressRateLimit"], values["IngressBurstLimit"]) == ("7", "9")
    assert values["ProxyRateLimit"] == "50"


def test_applies_changed_template(aws: EmbeddedAws, stack: str, tmp_path: Path) -> None:
    before = _deploy(aws, stack)

    after = _deploy(aws, stack, template=_mutated(tmp_path, "ProxyApi", Description="Changed."))

    assert after == before
    assert aws.client("apigatewayv2").get_api(ApiId=after["ProxyApiId"])["Description"] == "Changed."


def test_update_keeps_ingress_working(aws: EmbeddedAws, stack: str, tmp_path: Path) -> None:
    """A hook of the embedded AWS keeps the ingress integration on update as on creation."""
    with Webhook() as webhook:
        url = pydantic.SecretStr(webhook.url)
        outputs = _deploy(aws, stack, webhook_url=url, parameters=WITH_USER)
        changed = _mutated(tmp_path, "NotifyIntegration", Description="Changed.")
        _deploy(aws, stack, webhook_url=url, template=changed)
        relay = Relay(aws, webhook, stack, outputs, _bot_key(aws, outputs))
        name = unique("after")

        assert relay.start(name).status == 200
        assert relay.finished(name)["status"] == "SUCCEEDED"


def test_update_changes_integration_role(aws: EmbeddedAws, stack: str, tmp_path: Path) -> None:
    """A hook of the embedded AWS keeps the role too: with a missing role, the ingress fails."""
    with Webhook() as webhook:
        url = pydantic.SecretStr(webhook.url)
        outputs = _deploy(aws, stack, webhook_url=url, parameters=WITH_USER)
        # By name: ministack does not tell one GetAtt from another when it looks for changes.
        other = {"Fn::Sub": "arn:aws:iam::${AWS::AccountId}:role/nobody"}
        changed = _mutated(tmp_path, "NotifyIntegration", CredentialsArn=other)
        _deploy(aws, stack, webhook_url=url, template=changed)
        relay = Relay(aws, webhook, stack, outputs, _bot_key(aws, outputs))

        answer = relay.start(unique("refused"))

    assert (answer.status, answer.json()) == (500, {"message": "Internal Server Error"})


def test_deploys_packaged_template(aws: EmbeddedAws, stack: str, tmp_path: Path) -> None:
    """As ``aws cloudformation package`` leaves it: definitions in a bucket, and their addresses."""
    bucket = unique("artefacts")
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=bucket)
    template = load_template(TEMPLATE.read_text())
    for resource in template["Resources"].values():
        path = isinstance(resource, dict) and resource.get("Properties", {}).get("DefinitionS3Location")
        if path:
            s3.put_object(Bucket=bucket, Key=path, Body=(TEMPLATE.parent / path).read_bytes())
            resource["Properties"]["DefinitionS3Location"] = {"Bucket": bucket, "Key": path}
    packaged = tmp_path / "packaged.json"
    packaged.write_text(json.dumps(template))

    with Webhook() as webhook:
        outputs = _deploy(
            aws, stack, webhook_url=pydantic.SecretStr(webhook.url), template=packaged, parameters=WITH_USER
        )
        relay = Relay(aws, webhook, stack, outputs, _bot_key(aws, outputs))
        name = unique("packaged")

        assert relay.start(name).status == 200
        assert relay.finished(name)["status"] == "SUCCEEDED"


def test_names_failed_resource(aws: EmbeddedAws, stack: str, tmp_path: Path) -> None:
    broken = _mutated(tmp_path, "ProxyApi", Description="{{resolve:secretsmanager:missing}}")

    with pytest.raises(DeployError) as failed:
        _deploy(aws, stack, template=broken)

    message = str(failed.value)
    assert message.startswith(f"stack {stack}: ProxyApi: ")
    assert "missing" in message
    assert "\n" not in message


def test_failed_update_keeps_stack_working(aws: EmbeddedAws, stack: str, tmp_path: Path) -> None:
    """The error is one line, and an event still reaches the previous webhook."""
    with Webhook() as webhook:
        url = pydantic.SecretStr(webhook.url)
        outputs = _deploy(aws, stack, webhook_url=url, parameters=WITH_USER)
        broken = _mutated(tmp_path, "ProxyStage", StageName={"Fn::Sub": "{{resolve:secretsmanager:missing}}"})

        with pytest.raises(DeployError) as failed:
            _deploy(aws, stack, webhook_url=pydantic.SecretStr(webhook.url + "-new"), template=broken)

        assert str(failed.value).startswith(f"stack {stack}: ProxyStage: ")
        assert "missing" in str(failed.value)
        assert str(failed.value).endswith("The stack is back to what it was and works as before.")
        assert "\n" not in str(failed.value)
        relay = Relay(aws, webhook, stack, outputs, _bot_key(aws, outputs))
        name = unique("after")
        assert relay.start(name).status == 200
        assert relay.finished(name)["status"] == "SUCCEEDED"
        assert [posted.path.partition("?")[0] for posted in webhook.posted] == [
            urllib.parse.urlsplit(webhook.url).path
        ]
        # Once the cause is fixed, the next deployment succeeds.
        _deploy(aws, stack, webhook_url=None)
        assert _integration_uri(aws, outputs) == webhook.url + "-new"


def test_uploads_large_template(aws: EmbeddedAws, stack: str, tmp_path: Path) -> None:
    """A template too large for a request needs a bucket and is uploaded once."""
    # Not a comment, which the deployment strips.
    large = _mutated(tmp_path, "ProxyApi", Description="Changed.")
    large.write_text(large.read_text() + " " * MAX_INLINE_BYTES)
    with pytest.raises(DeployError, match="--bucket"):
        _deploy(aws, stack, template=large)
    bucket, s3 = unique("templates"), aws.client("s3")
    options = DeployOptions(poll_s=POLL_S, bucket=bucket, account_id=aws.account_id)
    with pytest.raises(DeployError, match=f"bucket {bucket}: .*NoSuchBucket"):
        _deploy(aws, stack, template=large, options=options)
    s3.create_bucket(Bucket=bucket)

    outputs = _deploy(aws, stack, template=large, options=options)
    assert _deploy(aws, stack, template=large, options=options) == outputs

    assert aws.client("apigatewayv2").get_api(ApiId=outputs["ProxyApiId"])["Description"] == "Changed."
    (held,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert held["Key"].startswith("voice-relay/")
    assert held["Size"] == large.stat().st_size


def test_small_template_skips_bucket(aws: EmbeddedAws, stack: str) -> None:
    options = DeployOptions(poll_s=POLL_S, bucket="there-is-no-such-bucket")

    assert _deploy(aws, stack, options=options)


def test_deploys_other_template(aws: EmbeddedAws, stack: str, tmp_path: Path) -> None:
    """Defaults fill declared parameters only, and unnamed parameters keep their values."""
    _deploy(aws, stack)
    topic = {"TopicName": {"Fn::Sub": "${RelayStack}-${Suffix}"}, "DisplayName": {"Ref": "Suffix"}}
    parameters = {"RelayStack": {"Type": "String", "Default": "voice-relay"}, "Suffix": {"Type": "String"}}
    document = {
        "Parameters": parameters,
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": topic}},
        "Outputs": {"Name": {"Value": {"Fn::GetAtt": ["Topic", "TopicName"]}}},
    }
    template = tmp_path / "monitoring.json"
    template.write_text(json.dumps(document))
    options = DeployOptions(poll_s=POLL_S)
    defaults = {"RelayStack": stack, "NotAskedFor": "x"}
    try:
        for given in ({"Suffix": "alarms"}, {}):
            outputs = deploy_template(
                aws.client,
                template,
                stack_name=f"{stack}-m",
                parameters=given,
                defaults=defaults,
                options=options,
            )
            assert outputs == {"Name": f"{stack}-alarms"}
    finally:
        destroy(aws.client, stack_name=f"{stack}-m", has_secret=False, poll_s=POLL_S)


def test_uses_secret_named_by_stack(aws: EmbeddedAws, stack: str) -> None:
    """The secret may be named by any name or by ARN, as with the AWS CLI."""
    secrets, name = aws.client("secretsmanager"), unique("hooks")
    arn = secrets.create_secret(Name=name, SecretString=json.dumps({"default": URL.get_secret_value()}))[
        "ARN"
    ]
    _deploy(aws, stack, webhook_url=None, parameters={"WebhookSecret": arn})
    other = pydantic.SecretStr("https://discord.test/api/webhooks/100/other")

    outputs = _deploy(aws, stack, webhook_url=other)

    assert _integration_uri(aws, outputs) == other.get_secret_value()
    destroy(aws.client, stack_name=stack, poll_s=POLL_S)
    assert name not in {secret["Name"] for secret in secrets.list_secrets()["SecretList"]}


def test_redeploys_after_failed_creation(aws: EmbeddedAws, stack: str, tmp_path: Path) -> None:
    broken = _mutated(tmp_path, "ProxyApi", Description="{{resolve:secretsmanager:no}}")
    with pytest.raises(DeployError):
        _deploy(aws, stack, template=broken)

    assert _integration_uri(aws, _deploy(aws, stack)) == URL.get_secret_value()


def test_names_refused_parameter(aws: EmbeddedAws, stack: str) -> None:
    with pytest.raises(DeployError, match=f"stack {stack}: .*LogRetentionDays"):
        _deploy(aws, stack, parameters={"LogRetentionDays": "4"})


def test_first_deployment_needs_webhook(aws: EmbeddedAws, stack: str) -> None:
    with pytest.raises(DeployError, match="destination default has no webhook"):
        _deploy(aws, stack, webhook_url=None)


def test_refuses_foreign_secret(aws: EmbeddedAws, stack: str) -> None:
    secrets = aws.client("secretsmanager")
    secrets.create_secret(Name=f"{stack}/webhooks", SecretString="hunter2")

    with pytest.raises(DeployError, match="does not hold webhook URLs") as failed:
        _deploy(aws, stack)

    assert "hunter2" not in str(failed.value)
    assert secrets.get_secret_value(SecretId=f"{stack}/webhooks")["SecretString"] == "hunter2"


def test_unreachable_aws_is_one_line(stack: str) -> None:
    """The error is one line and shows no secret."""
    unreachable = EmbeddedAws()

    with pytest.raises(DeployError) as failed:
        _deploy(unreachable, stack)

    assert "s3cret-webhook_token" not in str(failed.value)
    assert "\n" not in str(failed.value)


def test_destroy_is_idempotent(aws: EmbeddedAws, stack: str) -> None:
    outputs = _deploy(aws, stack)

    for _ in range(2):
        destroy(aws.client, stack_name=stack, poll_s=POLL_S)

    apis = {api["ApiId"] for api in aws.client("apigatewayv2").get_apis()["Items"]}
    assert not apis & {outputs["IngressApiId"], outputs["ProxyApiId"]}
    secrets = aws.client("secretsmanager").list_secrets()["SecretList"]
    assert f"{stack}/webhooks" not in {secret["Name"] for secret in secrets}
    assert _deploy(aws, stack).keys() == outputs.keys()
