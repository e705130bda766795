"""Deploy the relay into an AWS account, real or embedded, with nothing but botocore.

The webhook's URL goes straight into Secrets Manager. No template, parameter, event or error shows it.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import botocore.exceptions
import pydantic

from infra.stack import DeployError, OnEvent, Stack, StackEvent
from infra.template import build_template

__all__ = ["DeployError", "OnEvent", "StackEvent", "deploy", "destroy"]

# Makes a botocore client for a service; this is all that a deployment knows of the AWS that it deploys to.
ClientFactory = Callable[[str], Any]

TEMPLATE = Path(__file__).parent / "relay.yaml"
DEFAULT_STACK_NAME = "voice-relay"

_WEBHOOK_TOKEN = re.compile(r"(/webhooks/\d+/)[\w-]+")


def _ignore(event: StackEvent) -> None:
    """Report to nobody."""


def deploy(
    client: ClientFactory,
    *,
    webhook_url: pydantic.SecretStr | None,
    stack_name: str = DEFAULT_STACK_NAME,
    secret_name: str | None = None,
    parameters: Mapping[str, str] | None = None,
    on_event: OnEvent = _ignore,
    template: Path = TEMPLATE,
    poll_s: float = 2.0,
) -> dict[str, str]:
    """Create or update the stack and return its outputs; does nothing where nothing changed.

    *webhook_url* ``None`` keeps the secret as it is. *on_event* hears of every step. Raises DeployError.
    """
    body = build_template(template)
    stack = Stack(client("cloudformation"), stack_name, on_event=_redacting(on_event), poll_s=poll_s)
    try:
        secret_arn, version = _store_webhook(
            client("secretsmanager"), secret_name or _secret_name(stack_name), webhook_url
        )
        given = {"WebhookSecret": secret_arn, "WebhookSecretVersion": version}
        stack.deploy(body, given | dict(parameters or {}))
    except DeployError as error:
        # A service may quote what it refuses, and the webhook's URL is among what it is given.
        raise DeployError(_redact(str(error))) from None
    return stack.outputs()


def destroy(
    client: ClientFactory,
    *,
    stack_name: str = DEFAULT_STACK_NAME,
    secret_name: str | None = None,
    on_event: OnEvent = _ignore,
    poll_s: float = 2.0,
) -> None:
    """Delete the stack and the secret; nothing to do where there is neither."""
    Stack(client("cloudformation"), stack_name, on_event=_redacting(on_event), poll_s=poll_s).delete()
    secrets = client("secretsmanager")
    try:
        # At once: a secret that waits for its deletion would be in the next deployment's way, and the URL
        # can be had from Discord again.
        secrets.delete_secret(
            SecretId=secret_name or _secret_name(stack_name), ForceDeleteWithoutRecovery=True
        )
    except secrets.exceptions.ResourceNotFoundException:
        return
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        raise DeployError(f"the webhook's secret was not deleted: {_reason(error)}") from None


def _secret_name(stack_name: str) -> str:
    return f"{stack_name}/webhooks"


def _store_webhook(secrets: Any, name: str, url: pydantic.SecretStr | None) -> tuple[str, str]:
    """The secret's ARN and the version to use, written only if *url* is not what it holds already."""
    try:
        try:
            held = secrets.get_secret_value(SecretId=name)
        except secrets.exceptions.ResourceNotFoundException:
            if url is None:
                raise DeployError(f"there is no secret {name}; name the webhook's URL") from None
            made = secrets.create_secret(
                Name=name,
                Description="Discord webhook URLs of Voice Relay, one for each destination.",
                SecretString=json.dumps({"default": url.get_secret_value()}),
            )
            return made["ARN"], made["VersionId"]
        urls = _parse_urls(name, held.get("SecretString"))
        if url is None or urls.get("default") == url.get_secret_value():
            return held["ARN"], held["VersionId"]
        # Other destinations in the same secret stay.
        put = secrets.put_secret_value(
            SecretId=name, SecretString=json.dumps(urls | {"default": url.get_secret_value()})
        )
        return put["ARN"], put["VersionId"]
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        raise DeployError(f"the webhook's URL was not stored in secret {name}: {_reason(error)}") from None


def _parse_urls(name: str, document: str | None) -> dict[str, str]:
    try:
        urls = json.loads(document or "")
    except ValueError:
        urls = None
    if not isinstance(urls, dict):
        raise DeployError(f"secret {name} holds something else than webhook URLs; name another secret")
    return urls


def _reason(error: Exception) -> str:
    if isinstance(error, botocore.exceptions.ClientError):
        return str(error.response["Error"].get("Code"))
    return type(error).__name__


def _redact(text: str) -> str:
    return _WEBHOOK_TOKEN.sub(r"\1…", text)


def _redacting(on_event: OnEvent) -> OnEvent:
    def redacted(event: StackEvent) -> None:
        on_event(StackEvent(event.logical_id, event.resource_type, event.status, _redact(event.reason)))

    return redacted
