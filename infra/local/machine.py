"""Single-machine mode: an embedded AWS with the relay's stack deployed and a user for the bot."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pydantic

from bot.errors import SettingsError
from infra.deploy.engine import DEFAULT_STACK_NAME, DeployOptions, deploy
from infra.deploy.stack_events import OnEvent, ignore
from infra.deploy.workflow_stack import OwnWorkflow, deploy_workflow
from infra.local.aws import EmbeddedAws
from infra.local.aws.credentials import Credentials

_POLL_S = 0.02


@dataclass(frozen=True)
class SingleMachine:
    """A relay on this machine: its AWS, and what the bot needs to call it."""

    aws: EmbeddedAws
    api_endpoint: str
    region: str
    credentials: Credentials
    outputs: Mapping[str, str] = field(repr=False)


@asynccontextmanager
async def single_machine(
    *,
    webhook_url: pydantic.SecretStr,
    stack_name: str = DEFAULT_STACK_NAME,
    parameters: Mapping[str, str] | None = None,
    on_event: OnEvent = ignore,
    wait_scale: float = 1.0,
    retained_executions: int = 500,
    workflows: Sequence[OwnWorkflow] = (),
) -> AsyncIterator[SingleMachine]:
    """Start an embedded AWS and deploy the relay and *workflows* to it; raises StartupError or DeployError.

    *on_event* is called from another thread. On exit, running executions end with the embedded AWS; the relay
    keeps a followed workflow's events until its execution has succeeded, and starts it again. Of those that
    have ended, the newest *retained_executions* are kept; the relay still has to see one of each lane.
    """
    _check_grants(workflows, parameters or {})
    async with EmbeddedAws(wait_scale=wait_scale, retained_executions=retained_executions) as aws:
        how = DeployOptions(on_event=on_event, poll_s=_POLL_S)
        outputs = await asyncio.to_thread(
            deploy,
            aws.client,
            webhook_url=webhook_url,
            stack_name=stack_name,
            parameters=parameters,
            options=how,
        )
        machine = await asyncio.to_thread(_open_machine, aws, outputs, f"{stack_name}-bot")
        # Their stacks let the bot's user start them, so it must exist.
        for workflow in workflows:
            await asyncio.to_thread(
                deploy_workflow, aws.client, workflow, relay_stack=stack_name, options=how
            )
        yield machine


def _check_grants(workflows: Sequence[OwnWorkflow], parameters: Mapping[str, str]) -> None:
    """Raise SettingsError for what the *workflows* need and this machine does not have."""
    needs = [(workflow.name, workflow.definition.needs) for workflow in workflows]
    problems = [
        f"the workflow {name} has the bot act in Discord: name its actions in VOICE_RELAY_ACTIONS "
        "and start voice-relay run, since send-test runs no bot"
        for name, needed in needs
        if "acts" in needed and parameters.get("Actions") != "true"
    ]
    problems += [
        f"the workflow {name} calls another API, to which this machine has no connection: deploy it to AWS"
        for name, needed in needs
        if "calls" in needed
    ]
    if problems:
        raise SettingsError(problems)


def _open_machine(aws: EmbeddedAws, outputs: Mapping[str, str], user: str) -> SingleMachine:
    return SingleMachine(
        aws=aws,
        # The stack's own ApiEndpoint names a host that only AWS serves.
        api_endpoint=aws.api_url(outputs["IngressApiId"]),
        region=aws.region,
        credentials=create_bot_user(aws, outputs["BotPolicyArn"], user),
        outputs=outputs,
    )


def create_bot_user(aws: EmbeddedAws, policy_arn: str, name: str) -> Credentials:
    """Create a user with this policy alone, and return its access key."""
    iam = aws.client("iam")
    iam.create_user(UserName=name)
    iam.attach_user_policy(UserName=name, PolicyArn=policy_arn)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Credentials(access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"])
