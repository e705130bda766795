"""Deploys the relay to an AWS account, real or embedded, through change sets.

Webhook URLs go straight to Secrets Manager; no template, parameter, event or error contains one. Nothing
changes until the caller's *review* approves the plan.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pydantic

from bot.errors import RelayError
from infra.deploy.aws_errors import DeployError
from infra.deploy.bucket import upload_template
from infra.deploy.change_set import ChangeSet
from infra.deploy.destinations import (
    DEFAULT_DESTINATION,
    DestinationChanges,
    choose_destinations,
    parse_names,
)
from infra.deploy.parameters import check_parameters
from infra.deploy.stack import Stack, TemplateSource
from infra.deploy.stack_events import OnEvent, StackEvent, ignore
from infra.deploy.template import MAX_INLINE_BYTES, Template, TooLargeError, load_template
from infra.deploy.webhook_secret import SecretPlan, WebhookSecret, load_secret, mask_urls

__all__ = [
    "DeclinedError",
    "DeployError",
    "DeployOptions",
    "OnEvent",
    "Plan",
    "StackEvent",
    "deploy",
    "deploy_template",
]

# Makes a botocore client for a service: the engine's only access to AWS.
ClientFactory = Callable[[str], Any]

TEMPLATE: Final = Path(__file__).parents[1] / "relay.yaml"
DEFAULT_STACK_NAME: Final = "voice-relay"
# Parameters of the relay's template that the engine itself sets.
_OWN_PARAMETERS: Final = frozenset({"WebhookSecret", "WebhookSecretVersion", "Destinations"})
# In a template that needs the relay's exports.
_IMPORTS: Final = "Fn::ImportValue"


# Words that AWS uses to refuse a template for its size, whichever limit applies.
_TOO_LARGE: Final = re.compile(r"limit|size|length less than", re.IGNORECASE)


class DeclinedError(RelayError):
    """The review declined the plan; nothing was changed."""


@dataclass(frozen=True)
class Plan:
    """What a deployment would do; ``webhooks`` maps each webhook whose URL changes to what happens to it."""

    stack_name: str
    change_set: ChangeSet
    webhooks: Mapping[str, str] = field(default_factory=dict)
    secret_name: str | None = None


Review = Callable[[Plan], bool]


def _approve(_: Plan) -> bool:
    return True


@dataclass(frozen=True)
class DeployOptions:
    """How to deploy: progress callback, review, waiting.

    *bucket* takes templates too large for a request; if *account_id* is set, that account must own it.
    CloudFormation assumes *role_arn* instead of using the caller's permissions.
    """

    on_event: OnEvent = ignore
    review: Review = _approve
    wait: bool = True
    poll_s: float = 2.0
    sleep: Callable[[float], None] = time.sleep
    bucket: str | None = None
    account_id: str | None = None
    role_arn: str | None = None


def deploy(
    client: ClientFactory,
    *,
    webhook_url: pydantic.SecretStr | None,
    stack_name: str = DEFAULT_STACK_NAME,
    secret_name: str | None = None,
    parameters: Mapping[str, str] | None = None,
    destinations: DestinationChanges | None = None,
    template: Path = TEMPLATE,
    options: DeployOptions | None = None,
) -> dict[str, str]:
    """Create or update the relay's stack and return its outputs; does nothing if nothing changed.

    *webhook_url* belongs to the destination "default"; ``None`` keeps the secret's. Raises DeployError,
    DeclinedError.
    """
    options = options or DeployOptions()
    changes = destinations or DestinationChanges()
    if webhook_url is not None:
        changes = replace(changes, webhooks={DEFAULT_DESTINATION: webhook_url, **changes.webhooks})
    body = load_template(template)
    asked = dict(parameters or {})
    urls = [url.get_secret_value() for url in changes.webhooks.values()]
    stack = _stack(client, stack_name, options, urls)
    with _masked(urls):
        present = stack.parameters()
        check_parameters(body.body, given=asked.keys() | _OWN_PARAMETERS, present=present)
        name = secret_name or asked.get("WebhookSecret") or present.get("WebhookSecret")
        secret = load_secret(client("secretsmanager"), name or default_secret_name(stack_name))
        urls += secret.urls.values()
        listed = asked.get("Destinations") or present.get("Destinations", "")
        chosen = choose_destinations(changes, present=parse_names(listed), held=secret.urls.keys())
        urls += chosen.given.values()
        planned = secret.plan(chosen.given, changes.removed)
        times = len(chosen.names)
        source = _template_source(client, body, options, times=times)
        with _suggesting_bucket(source, body, times=times):
            _apply(
                stack,
                source,
                asked | _relay_parameters(asked, secret, planned, chosen.names),
                options,
                plan=lambda change_set: Plan(stack_name, change_set, planned.changes, secret.name),
                prepare=lambda: secret.write(planned),
            )
        return stack.outputs() if options.wait else {}


def _relay_parameters(
    asked: Mapping[str, str], secret: WebhookSecret, planned: SecretPlan, destinations: Sequence[str]
) -> dict[str, str]:
    version = planned.version if planned.is_new else asked.get("WebhookSecretVersion", planned.version)
    return {
        "WebhookSecret": secret.name,
        "WebhookSecretVersion": version,
        "Destinations": ",".join(destinations),
    }


def deploy_template(
    client: ClientFactory,
    template: Path | Template,
    *,
    stack_name: str,
    parameters: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] | None = None,
    options: DeployOptions | None = None,
) -> dict[str, str]:
    """Create or update the stack of another template and return its outputs.

    *defaults* fill in parameters that the template declares and that neither *parameters* nor the stack
    sets. Raises DeployError, DeclinedError.
    """
    options = options or DeployOptions()
    stack = _stack(client, stack_name, options, [])
    body = load_template(template) if isinstance(template, Path) else template
    present, asked = stack.parameters(), dict(parameters or {})
    check_parameters(body.body, given=asked, present=present)
    source = _template_source(client, body, options, times=1)
    declared = stack.defaults(source)
    new = {key: value for key, value in (defaults or {}).items() if key in declared and key not in present}
    given = new | asked
    if _IMPORTS in body.body and "RelayStack" in declared:
        _check_relay(client, str((declared | present | given)["RelayStack"]))
    _apply(stack, source, given, options, plan=lambda found: Plan(stack_name, found))
    return stack.outputs() if options.wait else {}


def _check_relay(client: ClientFactory, name: str) -> None:
    """Raise DeployError unless the stack *name* exists and exports something."""
    cloudformation = client("cloudformation")
    relay = Stack(cloudformation, name, on_event=ignore, poll_s=0)
    if not (relay.exists() and relay.outputs()):
        raise DeployError(
            f"no stack {name} in {cloudformation.meta.region_name} exports what this template needs: "
            "deploy the relay first, or name its stack with --relay-stack"
        )


def default_secret_name(stack_name: str) -> str:
    """Return the secret's name for a stack that does not set another."""
    return f"{stack_name}/webhooks"


def _apply(
    stack: Stack,
    source: TemplateSource,
    parameters: Mapping[str, str],
    options: DeployOptions,
    *,
    plan: Callable[[ChangeSet], Plan],
    prepare: Callable[[], None] = lambda: None,
) -> None:
    """Review the change set, then *prepare* and execute it."""
    change_set = stack.prepare(source, parameters)
    if change_set is None:
        prepare()
        return
    try:
        if not options.review(plan(change_set)):
            raise DeclinedError(f"stack {stack.name}: nothing was changed")
        prepare()
    except BaseException:
        stack.discard(change_set)
        raise
    stack.execute(change_set, wait=options.wait)


def _template_source(
    client: ClientFactory, template: Template, options: DeployOptions, *, times: int
) -> TemplateSource:
    """Return the template inline if it fits, else upload it to the bucket."""
    if template.fits_inline and (
        options.bucket is None or template.expanded_bytes(times) <= MAX_INLINE_BYTES
    ):
        return {"TemplateBody": template.body}
    if options.bucket is None:
        raise DeployError(str(TooLargeError(template)))
    url = upload_template(client("s3"), options.bucket, template, account_id=options.account_id)
    return {"TemplateURL": url}


@contextmanager
def _suggesting_bucket(source: TemplateSource, template: Template, *, times: int) -> Iterator[None]:
    """Add the hint to use a bucket if expanded loops may have made an inline template too large.

    The expanded size is only an estimate, so the template is not refused up front.
    """
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-macros-troubleshoot-processed-template.html
    try:
        yield
    except DeployError as error:
        grown = "TemplateBody" in source and template.expanded_bytes(times) > MAX_INLINE_BYTES
        if not (grown and _TOO_LARGE.search(str(error))):
            raise
        raise DeployError(
            f"{error}; with {times} destinations the template may be too large to send inline: name one of "
            "your buckets in the same region with --bucket"
        ) from error


def _stack(client: ClientFactory, name: str, options: DeployOptions, urls: list[str]) -> Stack:
    """Open the stack; its events are reported with the *urls* masked."""

    def report(event: StackEvent) -> None:
        options.on_event(replace(event, reason=mask_urls(event.reason, urls)))

    return Stack(
        client("cloudformation"),
        name,
        on_event=report,
        poll_s=options.poll_s,
        sleep=options.sleep,
        role_arn=options.role_arn,
    )


@contextmanager
def _masked(urls: list[str]) -> Iterator[None]:
    """Mask *urls*, including those added later, in any DeployError from the block."""
    try:
        yield
    except DeployError as error:
        raise DeployError(mask_urls(str(error), urls)) from None
