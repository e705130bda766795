"""Deploying the relay against answers that the embedded AWS never gives."""

import json
from collections.abc import Sequence
from typing import Any

import pydantic
import pytest

from infra.deploy.destinations import DestinationChanges
from infra.deploy.engine import DeclinedError, DeployError, DeployOptions, StackEvent, deploy
from tests.unit.infra.cloudformation import CloudFormation, client_error

URL = "https://discord.test/api/webhooks/99/s3cret-webhook_token"


class Secrets:
    """Holds another webhook already."""

    class exceptions:  # noqa: N801
        class ResourceNotFoundException(Exception):
            """Never raised."""

    def __init__(self) -> None:
        self.put: list[str] = []

    def get_secret_value(self, SecretId: str) -> Any:  # noqa: N803
        return {"ARN": f"arn:{SecretId}", "VersionId": "1", "SecretString": json.dumps({"default": URL})}

    def put_secret_value(self, **given: Any) -> None:
        self.put.append(given["ClientRequestToken"])


def _deploy_relay(
    client: CloudFormation, secrets: Secrets, options: DeployOptions, url: str = URL, more: Sequence[str] = ()
) -> None:
    deploy(
        lambda service: {"cloudformation": client, "secretsmanager": secrets}[service],
        webhook_url=pydantic.SecretStr(url),
        destinations=DestinationChanges(webhooks={name: pydantic.SecretStr(url) for name in more}),
        options=options,
    )


@pytest.mark.parametrize(
    ("number", "reason", "bucket"),
    [
        (20, "Transformation data limit exceeded", True),
        (20, "Template may not exceed 51200 bytes in size.", True),
        (20, "Transform failed", False),
        (0, "Transformation data limit exceeded", False),
    ],
)
def test_suggests_bucket_for_many_destinations(number: int, reason: str, bucket: bool) -> None:
    """Only a refusal for size with many destinations gets the hint to use a bucket."""
    client = CloudFormation("CREATE_COMPLETE")
    client.refusal = reason
    more = [f"d{each}" for each in range(number)]

    with pytest.raises(DeployError) as failed:
        _deploy_relay(client, Secrets(), DeployOptions(poll_s=0), more=more)

    assert str(failed.value).startswith(f"stack voice-relay: the change set failed: {reason}")
    assert ("21 destinations" in str(failed.value) and "--bucket" in str(failed.value)) is bucket


def test_masks_quoted_webhook() -> None:
    """Errors and events hide a webhook's token that a service quotes."""
    client = CloudFormation(
        "none",
        ["ROLLBACK_COMPLETE"],
        [("A", "CREATE_FAILED", f"Invalid HTTP endpoint specified for URI: {URL}")],
    )
    seen: list[StackEvent] = []

    with pytest.raises(DeployError) as failed:
        _deploy_relay(client, Secrets(), DeployOptions(on_event=seen.append, poll_s=0))

    assert "/webhooks/99/…" in str(failed.value)
    for text in (str(failed.value), repr(failed.value.__cause__), repr(seen)):
        assert "s3cret-webhook_token" not in text


@pytest.mark.parametrize("answer", ["no", "ctrl-c"])
@pytest.mark.parametrize(
    ("status", "deleted"), [("none", ["change set", "arn:stack"]), ("CREATE_COMPLETE", ["change set"])]
)
def test_declined_deployment_changes_nothing(answer: str, status: str, deleted: list[str]) -> None:
    client, secrets = CloudFormation(status), Secrets()

    def review(_: object) -> bool:
        assert not secrets.put
        if answer == "ctrl-c":
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt if answer == "ctrl-c" else DeclinedError):
        _deploy_relay(
            client, secrets, DeployOptions(review=review, poll_s=0), url="https://discord.test/other"
        )

    assert client.deleted == deleted
    assert secrets.put == []


def test_discards_change_set_if_secret_fails() -> None:
    class Refusing(Secrets):
        def put_secret_value(self, **given: Any) -> None:
            raise client_error("PutSecretValue", "AccessDeniedException", "no")

    client = CloudFormation("none")

    with pytest.raises(DeployError, match=r"could not store .* in secret .* AWS denies PutSecretValue"):
        _deploy_relay(client, Refusing(), DeployOptions(poll_s=0), url="https://discord.test/other")

    assert client.deleted == ["change set", "arn:stack"]
