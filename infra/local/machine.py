"""Single-machine mode: an embedded AWS with the relay's stack deployed and a user for the bot."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pydantic

from bot.errors import SettingsError
from infra.deploy.aws_errors import DeployError
from infra.deploy.connection_stack import KIND, deploy_connection
from infra.deploy.engine import DEFAULT_STACK_NAME, DeployOptions, deploy
from infra.deploy.grants import find_actions
from infra.deploy.stack_events import OnEvent, ignore
from infra.deploy.workflow_stack import OwnWorkflow, deploy_workflow
from infra.local.aws import EmbeddedAws
from infra.local.aws.credentials import Credentials
from infra.local.connections import VARIABLE, Connection

_POLL_S = 0.02


@dataclass(frozen=True)
class SingleMachine:
    """A relay on this machine: its AWS, and what the bot needs to call it.

    ``refreshes`` has the ARN of the refresh workflow for each workflow whose API has a login; ``unconnected``
    says of each workflow that is not deployed, because its API gave no token, why.
    """

    aws: EmbeddedAws
    api_endpoint: str
    region: str
    credentials: Credentials
    outputs: Mapping[str, str] = field(repr=False)
    refreshes: Mapping[str, str] = field(default_factory=dict)
    unconnected: Mapping[str, str] = field(default_factory=dict)


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
    connections: Mapping[str, Connection] | None = None,
) -> AsyncIterator[SingleMachine]:
    """Start an embedded AWS and deploy the relay and *workflows* to it; raises StartupError or DeployError.

    A workflow that calls an API has it in *connections*, under its own name; nothing logs in there yet.

    *on_event* is called from another thread. On exit, running executions end with the embedded AWS; the relay
    keeps a followed workflow's events until its execution has succeeded, and starts it again. Of those that
    have ended, the newest *retained_executions* are kept; the relay still has to see one of each lane.
    """
    connections = connections or {}
    _check_grants(workflows, parameters or {}, connections)
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
        own = _OwnStacks(aws, stack_name, connections, how)
        for number, workflow in enumerate(workflows, start=1):
            await asyncio.to_thread(own.deploy, workflow, number)
        yield replace(machine, refreshes=own.refreshes, unconnected=own.unconnected)


class _OwnStacks:
    """Deploys workflows with stacks of their own, each after the connection that it calls through."""

    def __init__(
        self, aws: EmbeddedAws, relay_stack: str, connections: Mapping[str, Connection], how: DeployOptions
    ) -> None:
        self.refreshes: dict[str, str] = {}
        self.unconnected: dict[str, str] = {}
        self._client = aws.client
        self._relay_stack = relay_stack
        self._connections = connections
        self._how = how

    def deploy(self, workflow: OwnWorkflow, number: int) -> None:
        """Deploy it; *number* tells its connection from those of others."""
        if "calls" in workflow.definition.needs:
            # Not by the workflow's name, which may not fit a stack, or be that of another stack.
            workflow = replace(workflow, connection=f"calls-{number}")
            if not self._connect(workflow):
                return
        deploy_workflow(self._client, workflow, relay_stack=self._relay_stack, options=self._how)

    def _connect(self, workflow: OwnWorkflow) -> bool:
        """Deploy the connection that the workflow names; False if the API gives it no token."""
        connection = self._connections[workflow.name]
        try:
            outputs = deploy_connection(
                self._client,
                stack_name=KIND.stack_name(self._relay_stack, workflow.connection or ""),
                parameters=connection.parameters,
                find=lambda _: connection.credentials,
                try_login=False,
                options=self._how,
            )
        except DeployError as error:
            # EventBridge asks for the token while the stack is made, so this may be the API's fault.
            if connection.parameters["Auth"] != "oauth":
                raise DeployError(f"{VARIABLE}: [{workflow.name}]: {error}") from None
            self.unconnected[workflow.name] = str(error)
            return False
        if outputs["Renewal"].startswith("arn:"):
            self.refreshes[workflow.name] = outputs["Renewal"]
        return True


def _check_grants(
    workflows: Sequence[OwnWorkflow], parameters: Mapping[str, str], connections: Mapping[str, Connection]
) -> None:
    """Raise SettingsError for what the *workflows* need and this machine does not have."""
    needs = [(workflow.name, workflow.definition.needs) for workflow in workflows]
    problems = [
        f"the workflow {workflow.name} has the bot act in Discord: set VOICE_RELAY_ACTIONS to "
        f"{','.join(find_actions(workflow.definition.tasks)) or 'its actions'} for voice-relay run; "
        "voice-relay send-test cannot run it on one machine, where it starts no bot"
        for workflow in workflows
        if "acts" in workflow.definition.needs and parameters.get("Actions") != "true"
    ]
    problems += [
        f"the workflow {name} calls another API: say which, and how, in a table [{name}] of the file "
        f"{VARIABLE}"
        for name, needed in needs
        if "calls" in needed and name not in connections
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
