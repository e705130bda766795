"""Deploy the relay into an AWS account, real or embedded, with nothing but botocore.

The webhooks' URLs go straight into Secrets Manager. No template, parameter, event or error shows one. Nothing
is changed before somebody, or the caller's own *review*, has said yes to all that would be.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
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
from infra.deploy.webhook_secret import load_secret, mask_urls

__all__ = [
    "Conduct",
    "DeclinedError",
    "DeployError",
    "OnEvent",
    "Plan",
    "StackEvent",
    "deploy",
    "deploy_template",
]

# Makes a botocore client for a service; this is all that a deployment knows of the AWS that it deploys to.
ClientFactory = Callable[[str], Any]

TEMPLATE: Final = Path(__file__).parents[1] / "relay.yaml"
DEFAULT_STACK_NAME: Final = "voice-relay"
# What is given to the relay's template whoever asks.
_OWN_PARAMETERS: Final = frozenset({"WebhookSecret", "WebhookSecretVersion", "Destinations"})
# What a template says that cannot be without the relay's exports.
_IMPORTS: Final = "Fn::ImportValue"


# The words in which AWS refuses a template for its size, whichever of its limits it is.
_TOO_LARGE: Final = re.compile(r"limit|size|length less than", re.IGNORECASE)


class DeclinedError(RelayError):
    """The answer to what would be changed was no; nothing was."""


@dataclass(frozen=True)
class Plan:
    """What a deployment would do; ``webhooks`` says what happens to each whose URL does not stay."""

    stack_name: str
    change_set: ChangeSet
    webhooks: Mapping[str, str] = field(default_factory=dict)
    secret_name: str | None = None


Review = Callable[[Plan], bool]


def _approve(_: Plan) -> bool:
    return True


@dataclass(frozen=True)
class Conduct:
    """How a deployment goes about its work: who hears of it, who is asked, how it waits.

    *bucket* is for templates above the limit of a request; with *account_id*, it has to be that account's.
    *role_arn* is the role that CloudFormation works as, instead of the caller.
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
    conduct: Conduct | None = None,
) -> dict[str, str]:
    """Create or update the relay's stack and return its outputs; does nothing where nothing changed.

    *webhook_url* is that of the destination "default"; ``None`` keeps the secret as it is. Raises
    DeployError, DeclinedError.
    """
    conduct = conduct or Conduct()
    wishes = destinations or DestinationChanges()
    if webhook_url is not None:
        wishes = replace(wishes, webhooks={DEFAULT_DESTINATION: webhook_url, **wishes.webhooks})
    body = load_template(template)
    asked = dict(parameters or {})
    urls = [url.get_secret_value() for url in wishes.webhooks.values()]
    stack = _stack(client, stack_name, conduct, urls)
    with _masked(urls):
        present = stack.parameters()
        check_parameters(body.body, given=asked.keys() | _OWN_PARAMETERS, present=present)
        name = secret_name or asked.get("WebhookSecret") or present.get("WebhookSecret")
        secret = load_secret(client("secretsmanager"), name or default_secret_name(stack_name))
        urls += secret.urls.values()
        listed = asked.get("Destinations") or present.get("Destinations", "")
        chosen = choose_destinations(wishes, present=parse_names(listed), held=secret.urls.keys())
        urls += chosen.given.values()
        planned = secret.plan(chosen.given, wishes.removed)
        source = _hand_over(client, body, conduct, times=len(chosen.names))
        version = planned.version if planned.is_new else asked.get("WebhookSecretVersion", planned.version)
        given = asked | {
            "WebhookSecret": secret.name,
            "WebhookSecretVersion": version,
            "Destinations": ",".join(chosen.names),
        }
        with _pointing_to_bucket(source, body, times=len(chosen.names)):
            _bring_about(
                stack,
                source,
                given,
                conduct,
                plan=lambda change_set: Plan(stack_name, change_set, planned.changes, secret.name),
                prepare=lambda: secret.carry_out(planned),
            )
        return stack.outputs() if conduct.wait else {}


def deploy_template(
    client: ClientFactory,
    template: Path,
    *,
    stack_name: str,
    parameters: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] | None = None,
    conduct: Conduct | None = None,
) -> dict[str, str]:
    """Create or update the stack of another template and return its outputs.

    *defaults* are for what neither *parameters* nor the stack says, where the template has such parameters.
    Raises DeployError, DeclinedError.
    """
    conduct = conduct or Conduct()
    stack = _stack(client, stack_name, conduct, [])
    body, present, asked = load_template(template), stack.parameters(), dict(parameters or {})
    check_parameters(body.body, given=asked, present=present)
    source = _hand_over(client, body, conduct, times=1)
    declared = stack.defaults(source)
    new = {key: value for key, value in (defaults or {}).items() if key in declared and key not in present}
    given = new | asked
    if _IMPORTS in body.body and "RelayStack" in declared:
        _check_relay(client, str((declared | present | given)["RelayStack"]))
    _bring_about(stack, source, given, conduct, plan=lambda found: Plan(stack_name, found))
    return stack.outputs() if conduct.wait else {}


def _check_relay(client: ClientFactory, name: str) -> None:
    """Raise DeployError unless there is the stack *name* with something to import."""
    cloudformation = client("cloudformation")
    relay = Stack(cloudformation, name, on_event=ignore, poll_s=0)
    if not (relay.exists() and relay.outputs()):
        raise DeployError(
            f"there is no stack {name} in {cloudformation.meta.region_name} that exports what this needs: "
            "deploy the relay first, or name it with --relay-stack"
        )


def default_secret_name(stack_name: str) -> str:
    """The name that the secret of a stack has unless the stack says otherwise."""
    return f"{stack_name}/webhooks"


def _bring_about(
    stack: Stack,
    source: TemplateSource,
    parameters: Mapping[str, str],
    conduct: Conduct,
    *,
    plan: Callable[[ChangeSet], Plan],
    prepare: Callable[[], None] = lambda: None,
) -> None:
    """Have the change looked at, and only then *prepare* and make it."""
    change_set = stack.prepare(source, parameters)
    if change_set is None:
        prepare()
        return
    try:
        if not conduct.review(plan(change_set)):
            raise DeclinedError(f"stack {stack.name}: nothing was changed")
        prepare()
    except BaseException:
        stack.discard(change_set)
        raise
    stack.execute(change_set, wait=conduct.wait)


def _hand_over(client: ClientFactory, template: Template, conduct: Conduct, *, times: int) -> TemplateSource:
    """The template in the request where it fits, else by way of the bucket."""
    if template.fits_inline and (
        conduct.bucket is None or template.expanded_bytes(times) <= MAX_INLINE_BYTES
    ):
        return {"TemplateBody": template.body}
    if conduct.bucket is None:
        raise DeployError(str(TooLargeError(template)))
    url = upload_template(client("s3"), conduct.bucket, template, account_id=conduct.account_id)
    return {"TemplateURL": url}


@contextmanager
def _pointing_to_bucket(source: TemplateSource, template: Template, *, times: int) -> Iterator[None]:
    """Name the next step where loops have made too much of a template that came in the request.

    How large AWS will find it is not certain enough to refuse it here.
    """
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-macros-troubleshoot-processed-template.html
    try:
        yield
    except DeployError as error:
        grown = "TemplateBody" in source and template.expanded_bytes(times) > MAX_INLINE_BYTES
        if not (grown and _TOO_LARGE.search(str(error))):
            raise
        raise DeployError(
            f"{error}; with {times} destinations the template may be too large without a bucket: name one of "
            "yours in the same region with --bucket"
        ) from error


def _stack(client: ClientFactory, name: str, conduct: Conduct, urls: list[str]) -> Stack:
    """The stack; its events are told without what is in *urls* by then."""

    def told(event: StackEvent) -> None:
        conduct.on_event(replace(event, reason=mask_urls(event.reason, urls)))

    return Stack(
        client("cloudformation"),
        name,
        on_event=told,
        poll_s=conduct.poll_s,
        sleep=conduct.sleep,
        role_arn=conduct.role_arn,
    )


@contextmanager
def _masked(urls: list[str]) -> Iterator[None]:
    """Let no error out of the block that quotes what is in *urls* by then."""
    try:
        yield
    except DeployError as error:
        raise DeployError(mask_urls(str(error), urls)) from None
