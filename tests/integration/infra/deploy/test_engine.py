"""Deployment: what changes is changed, the rest is left alone, and the webhook's URL stays a secret."""

import copy
import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest

from infra.deploy.destroy import destroy
from infra.deploy.engine import TEMPLATE, Conduct, DeployError, StackEvent, deploy, deploy_template
from infra.deploy.template import MAX_INLINE_BYTES, build_template
from infra.local.aws import EmbeddedAws
from infra.local.aws.credentials import Credentials
from tests.integration.infra.relay import POLL_S, Relay, Webhook, unique
from tooling.template_yaml import load_template

URL = pydantic.SecretStr("https://discord.test/api/webhooks/99/s3cret-webhook_token")


WITH_USER = {"CreateBotUser": "true"}


@pytest.fixture
def stack(aws: EmbeddedAws) -> Iterator[str]:
    """The name of a stack that is destroyed afterwards, whatever state it is in."""
    name = unique("stack")
    yield name
    destroy(aws.client, stack_name=name, poll_s=POLL_S)


def _deploy(aws: EmbeddedAws, name: str, **kwargs: Any) -> dict[str, str]:
    given: dict[str, Any] = {"webhook_url": URL, "stack_name": name, "conduct": Conduct(poll_s=POLL_S)}
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


def test_creates_the_stack_and_returns_its_outputs(aws: EmbeddedAws, stack: str) -> None:
    events: list[StackEvent] = []

    outputs = _deploy(aws, stack, conduct=Conduct(on_event=events.append, poll_s=POLL_S))

    declared = load_template(TEMPLATE.read_text())["Outputs"]
    assert outputs.keys() == {name for name, output in declared.items() if "Condition" not in output}
    assert StackEvent(stack, "AWS::CloudFormation::Stack", "CREATE_COMPLETE", "") in events
    assert _integration_uri(aws, outputs) == URL.get_secret_value()


def test_does_nothing_the_second_time(aws: EmbeddedAws, stack: str) -> None:
    first = _deploy(aws, stack)
    versions = _secret_versions(aws, stack)
    events: list[StackEvent] = []

    assert _deploy(aws, stack, conduct=Conduct(on_event=events.append, poll_s=POLL_S)) == first
    assert events == []
    assert _secret_versions(aws, stack) == versions
    changes = aws.client("cloudformation").list_change_sets(StackName=stack)["Summaries"]
    assert [change["Status"] for change in changes if change["Status"] == "FAILED"] == []


def _secret_versions(aws: EmbeddedAws, stack: str) -> set[str]:
    described = aws.client("secretsmanager").describe_secret(SecretId=f"{stack}/webhooks")
    return set(described["VersionIdsToStages"])


def test_a_new_webhook_takes_effect(aws: EmbeddedAws, stack: str) -> None:
    """A dynamic reference is looked up only when its resource changes, so the version is a parameter."""
    _deploy(aws, stack)
    other = pydantic.SecretStr("https://discord.test/api/webhooks/100/other")

    outputs = _deploy(aws, stack, webhook_url=other)

    assert _integration_uri(aws, outputs) == other.get_secret_value()


def test_keeps_the_webhook_where_none_is_named(aws: EmbeddedAws, stack: str) -> None:
    _deploy(aws, stack)

    outputs = _deploy(aws, stack, webhook_url=None)

    assert _integration_uri(aws, outputs) == URL.get_secret_value()


def test_keeps_the_secrets_other_destinations(aws: EmbeddedAws, stack: str) -> None:
    secrets = aws.client("secretsmanager")
    secrets.create_secret(
        Name=f"{stack}/webhooks", SecretString=json.dumps({"mods": "https://discord.test/m"})
    )

    _deploy(aws, stack)

    held = json.loads(secrets.get_secret_value(SecretId=f"{stack}/webhooks")["SecretString"])
    assert held == {"mods": "https://discord.test/m", "default": URL.get_secret_value()}


def test_keeps_parameters_that_are_not_named_again(aws: EmbeddedAws, stack: str) -> None:
    _deploy(aws, stack, parameters={"IngressRateLimit": "7"})

    _deploy(aws, stack, parameters={"IngressBurstLimit": "9"})

    (described,) = aws.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    values = {entry["ParameterKey"]: entry["ParameterValue"] for entry in described["Parameters"]}
    assert (values["IngressRateLimit"], values["IngressBurstLimit"]) == ("7", "9")
    assert values["ProxyRateLimit"] == "50"


def test_a_changed_template_changes_the_stack(aws: EmbeddedAws, stack: str, tmp_path: Path) -> None:
    before = _deploy(aws, stack)

    after = _deploy(aws, stack, template=_mutated(tmp_path, "ProxyApi", Description="Changed."))

    assert after == before
    assert aws.client("apigatewayv2").get_api(ApiId=after["ProxyApiId"])["Description"] == "Changed."


def test_an_update_keeps_the_path_open(aws: EmbeddedAws, stack: str, tmp_path: Path) -> None:
    """The ingress integration is what the embedded AWS keeps by a hook, on update as on creation."""
    with Webhook() as webhook:
        url = pydantic.SecretStr(webhook.url)
        outputs = _deploy(aws, stack, webhook_url=url, parameters=WITH_USER)
        changed = _mutated(tmp_path, "NotifyIntegration", Description="Changed.")
        _deploy(aws, stack, webhook_url=url, template=changed)
        relay = Relay(aws, webhook, stack, outputs, _bot_key(aws, outputs))
        name = unique("after")

        assert relay.start(name).status == 200
        assert relay.finished(name)["status"] == "SUCCEEDED"


def test_an_update_changes_the_integrations_role(aws: EmbeddedAws, stack: str, tmp_path: Path) -> None:
    """Which the embedded AWS keeps by a hook too: with a role that is not there, the ingress fails."""
    with Webhook() as webhook:
        url = pydantic.SecretStr(webhook.url)
        outputs = _deploy(aws, stack, webhook_url=url, parameters=WITH_USER)
        # By name: ministack takes one GetAtt for another when it looks for changes.
        other = {"Fn::Sub": "arn:aws:iam::${AWS::AccountId}:role/nobody"}
        changed = _mutated(tmp_path, "NotifyIntegration", CredentialsArn=other)
        _deploy(aws, stack, webhook_url=url, template=changed)
        relay = Relay(aws, webhook, stack, outputs, _bot_key(aws, outputs))

        answer = relay.start(unique("refused"))

    assert (answer.status, answer.json()) == (500, {"message": "Internal Server Error"})


def test_works_packaged_into_a_bucket_too(aws: EmbeddedAws, stack: str, tmp_path: Path) -> None:
    """As ``aws cloudformation package`` leaves the template: the definition in a bucket, and its address."""
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


def test_names_the_resource_that_failed_and_its_own_reason(
    aws: EmbeddedAws, stack: str, tmp_path: Path
) -> None:
    broken = _mutated(tmp_path, "ProxyApi", Description="{{resolve:secretsmanager:missing}}")

    with pytest.raises(DeployError) as failed:
        _deploy(aws, stack, template=broken)

    message = str(failed.value)
    assert message.startswith(f"stack {stack}: ProxyApi: ")
    assert "missing" in message
    assert "\n" not in message


def test_a_failed_update_leaves_the_previous_stack_at_work(
    aws: EmbeddedAws, stack: str, tmp_path: Path
) -> None:
    """It says why in one line; and an event still gets through, to the webhook that the stack had before."""
    with Webhook() as webhook:
        url = pydantic.SecretStr(webhook.url)
        outputs = _deploy(aws, stack, webhook_url=url, parameters=WITH_USER)
        broken = _mutated(tmp_path, "ProxyStage", StageName={"Fn::Sub": "{{resolve:secretsmanager:missing}}"})

        with pytest.raises(DeployError) as failed:
            _deploy(aws, stack, webhook_url=pydantic.SecretStr(webhook.url + "-new"), template=broken)

        assert str(failed.value).startswith(f"stack {stack}: ProxyStage: ")
        assert "missing" in str(failed.value)
        assert str(failed.value).endswith("The stack is as it was before, and works as it did.")
        assert "\n" not in str(failed.value)
        relay = Relay(aws, webhook, stack, outputs, _bot_key(aws, outputs))
        name = unique("after")
        assert relay.start(name).status == 200
        assert relay.finished(name)["status"] == "SUCCEEDED"
        assert [posted.path.partition("?")[0] for posted in webhook.posted] == [
            urllib.parse.urlsplit(webhook.url).path
        ]
        # The next deployment needs no more than what was wrong put right.
        _deploy(aws, stack, webhook_url=None)
        assert _integration_uri(aws, outputs) == webhook.url + "-new"


def test_a_template_too_large_for_a_request_goes_by_way_of_a_bucket(
    aws: EmbeddedAws, stack: str, tmp_path: Path
) -> None:
    # Not a comment, which would be left out.
    large = _mutated(tmp_path, "ProxyApi", Description="Changed.")
    large.write_text(large.read_text() + " " * MAX_INLINE_BYTES)
    with pytest.raises(DeployError, match="--bucket"):
        _deploy(aws, stack, template=large)
    bucket, s3 = unique("templates"), aws.client("s3")
    conduct = Conduct(poll_s=POLL_S, bucket=bucket, account_id=aws.account_id)
    with pytest.raises(DeployError, match=f"bucket {bucket}: .*NoSuchBucket"):
        _deploy(aws, stack, template=large, conduct=conduct)
    s3.create_bucket(Bucket=bucket)

    outputs = _deploy(aws, stack, template=large, conduct=conduct)
    assert _deploy(aws, stack, template=large, conduct=conduct) == outputs

    assert aws.client("apigatewayv2").get_api(ApiId=outputs["ProxyApiId"])["Description"] == "Changed."
    (held,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert held["Key"].startswith("voice-relay/")
    assert held["Size"] == large.stat().st_size


def test_no_bucket_is_used_where_none_is_needed(aws: EmbeddedAws, stack: str) -> None:
    conduct = Conduct(poll_s=POLL_S, bucket="there-is-no-such-bucket")

    assert _deploy(aws, stack, conduct=conduct)


def test_deploys_other_templates_beside_the_relay(aws: EmbeddedAws, stack: str, tmp_path: Path) -> None:
    """They are told the relay's name once, if they ask for it; and what is not named again stays."""
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
    conduct = Conduct(poll_s=POLL_S)
    defaults = {"RelayStack": stack, "NotAskedFor": "x"}
    try:
        for given in ({"Suffix": "alarms"}, {}):
            outputs = deploy_template(
                aws.client,
                template,
                stack_name=f"{stack}-m",
                parameters=given,
                defaults=defaults,
                conduct=conduct,
            )
            assert outputs == {"Name": f"{stack}-alarms"}
    finally:
        destroy(aws.client, stack_name=f"{stack}-m", has_secret=False, poll_s=POLL_S)


def test_uses_the_secret_that_the_stack_names(aws: EmbeddedAws, stack: str) -> None:
    """By whatever name, or its ARN, as with the AWS command line."""
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


def test_comes_back_after_a_failed_creation(aws: EmbeddedAws, stack: str, tmp_path: Path) -> None:
    broken = _mutated(tmp_path, "ProxyApi", Description="{{resolve:secretsmanager:no}}")
    with pytest.raises(DeployError):
        _deploy(aws, stack, template=broken)

    assert _integration_uri(aws, _deploy(aws, stack)) == URL.get_secret_value()


def test_says_which_parameter_is_refused(aws: EmbeddedAws, stack: str) -> None:
    with pytest.raises(DeployError, match=f"stack {stack}: .*LogRetentionDays"):
        _deploy(aws, stack, parameters={"LogRetentionDays": "4"})


def test_wants_a_webhook_the_first_time(aws: EmbeddedAws, stack: str) -> None:
    with pytest.raises(DeployError, match="destination default has no webhook"):
        _deploy(aws, stack, webhook_url=None)


def test_leaves_a_secret_alone_that_holds_something_else(aws: EmbeddedAws, stack: str) -> None:
    secrets = aws.client("secretsmanager")
    secrets.create_secret(Name=f"{stack}/webhooks", SecretString="hunter2")

    with pytest.raises(DeployError, match="something else") as failed:
        _deploy(aws, stack)

    assert "hunter2" not in str(failed.value)
    assert secrets.get_secret_value(SecretId=f"{stack}/webhooks")["SecretString"] == "hunter2"


def test_an_unreachable_aws_is_one_line_without_a_secret(stack: str) -> None:
    unreachable = EmbeddedAws()

    with pytest.raises(DeployError) as failed:
        _deploy(unreachable, stack)

    assert "s3cret-webhook_token" not in str(failed.value)
    assert "\n" not in str(failed.value)


def test_destroys_everything_and_does_it_twice(aws: EmbeddedAws, stack: str) -> None:
    outputs = _deploy(aws, stack)

    for _ in range(2):
        destroy(aws.client, stack_name=stack, poll_s=POLL_S)

    apis = {api["ApiId"] for api in aws.client("apigatewayv2").get_apis()["Items"]}
    assert not apis & {outputs["IngressApiId"], outputs["ProxyApiId"]}
    secrets = aws.client("secretsmanager").list_secrets()["SecretList"]
    assert f"{stack}/webhooks" not in {secret["Name"] for secret in secrets}
    assert _deploy(aws, stack).keys() == outputs.keys()
