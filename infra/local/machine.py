"""Single-machine mode: an embedded AWS with the relay's stack deployed and a user for the bot."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pydantic
import structlog

from infra.deploy.engine import DEFAULT_STACK_NAME, DeployOptions, deploy
from infra.deploy.stack_events import OnEvent, ignore
from infra.local.aws import EmbeddedAws
from infra.local.aws.credentials import Credentials
from workflow.registry import WORKFLOWS

_POLL_S = 0.02
_FAILURES_POLL_S = 5.0
# The stack's outputs with the state machines of followed workflows.
_FOLLOWED = tuple(workflow.output for workflow in WORKFLOWS.values() if workflow.followed)

log = structlog.get_logger(__name__)


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
    retained_executions: int = 2_000,
    grace_s: float = 0.0,
) -> AsyncIterator[SingleMachine]:
    """Start an embedded AWS and deploy the relay to it; raises StartupError or DeployError.

    *on_event* is called from another thread. On exit, running executions get up to *grace_s* to finish,
    because accepted events exist only in the embedded AWS's memory.
    """
    async with EmbeddedAws(wait_scale=wait_scale, retained_executions=retained_executions) as aws:
        outputs = await asyncio.to_thread(
            deploy,
            aws.client,
            webhook_url=webhook_url,
            stack_name=stack_name,
            parameters=parameters,
            options=DeployOptions(on_event=on_event, poll_s=_POLL_S),
        )
        machine = await asyncio.to_thread(_open_machine, aws, outputs, f"{stack_name}-bot")
        logged: set[str] = set()
        watcher = asyncio.create_task(_watch_failures(machine, logged))
        try:
            yield machine
        finally:
            watcher.cancel()
            await _drain_executions(machine, grace_s)
            await asyncio.to_thread(_log_failures, machine, logged)


def _open_machine(aws: EmbeddedAws, outputs: Mapping[str, str], user: str) -> SingleMachine:
    return SingleMachine(
        aws=aws,
        # The stack's own ApiEndpoint names a host that only AWS serves.
        api_endpoint=aws.api_url(outputs["IngressApiId"]),
        region=aws.region,
        credentials=create_bot_user(aws, outputs["BotPolicyArn"], user),
        outputs=outputs,
    )


async def _watch_failures(machine: SingleMachine, logged: set[str]) -> None:
    """Log each failed execution, since there are no alarms here."""
    while machine.aws.running:
        await asyncio.sleep(_FAILURES_POLL_S)
        await asyncio.to_thread(_log_failures, machine, logged)


def _log_failures(machine: SingleMachine, logged: set[str]) -> None:
    if not machine.aws.running:
        return
    states = machine.aws.client("stepfunctions")
    for execution in _executions(states, machine.outputs, "FAILED"):
        arn = execution["executionArn"]
        if arn not in logged:
            logged.add(arn)
            failed = states.describe_execution(executionArn=arn)
            log.error(
                "execution_failed",
                execution=execution["name"],
                error=failed.get("error"),
                cause=failed.get("cause"),
            )


def _executions(states: Any, outputs: Mapping[str, str], status: str) -> list[Any]:
    """List the newest executions of the followed workflows."""
    return [
        execution
        for output in _FOLLOWED
        for execution in states.list_executions(stateMachineArn=outputs[output], statusFilter=status)[
            "executions"
        ]
    ]


async def _drain_executions(machine: SingleMachine, grace_s: float) -> None:
    states = machine.aws.client("stepfunctions")

    def count_running() -> int:
        return len(_executions(states, machine.outputs, "RUNNING"))

    running = 0
    try:
        async with asyncio.timeout(grace_s):
            # Polled, because the embedded AWS is another process.
            while machine.aws.running and (running := await asyncio.to_thread(count_running)):  # noqa: ASYNC110
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        if running:
            log.warning("executions_abandoned", executions=running, waited_s=grace_s)


def create_bot_user(aws: EmbeddedAws, policy_arn: str, name: str) -> Credentials:
    """Create a user with this policy alone, and return its access key."""
    iam = aws.client("iam")
    iam.create_user(UserName=name)
    iam.attach_user_policy(UserName=name, PolicyArn=policy_arn)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Credentials(access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"])
