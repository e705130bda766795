"""The relay's AWS side on this machine alone: an embedded AWS, the templates deployed to it, a bot user."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pydantic
import structlog

from infra.deploy.engine import DEFAULT_STACK_NAME, Conduct, deploy
from infra.deploy.stack_events import OnEvent, ignore
from infra.local.aws import EmbeddedAws
from infra.local.aws.credentials import Credentials
from workflow.registry import WORKFLOWS

_POLL_S = 0.02
_FAILURES_POLL_S = 5.0
_FOLLOWED = tuple(workflow.output for workflow in WORKFLOWS.values() if workflow.followed)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class SingleMachine:
    """What a bot needs to reach the relay that runs here, and the AWS that it runs in."""

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
    """The whole AWS side, ready for requests; raises StartupError or DeployError.

    *on_event* is called from another thread. At the end it waits for up to *grace_s* for the executions that
    run: what it has accepted is in its memory alone.
    """
    async with EmbeddedAws(wait_scale=wait_scale, retained_executions=retained_executions) as aws:
        outputs = await asyncio.to_thread(
            deploy,
            aws.client,
            webhook_url=webhook_url,
            stack_name=stack_name,
            parameters=parameters,
            conduct=Conduct(on_event=on_event, poll_s=_POLL_S),
        )
        credentials = await asyncio.to_thread(
            create_bot_user, aws, outputs["BotPolicyArn"], f"{stack_name}-bot"
        )
        machine = SingleMachine(
            aws=aws,
            # The stack's own ApiEndpoint names a host that only AWS can answer for.
            api_endpoint=aws.api_url(outputs["IngressApiId"]),
            region=aws.region,
            credentials=credentials,
            outputs=outputs,
        )
        told: set[str] = set()
        telling = asyncio.create_task(_tell_of_failures(machine, told))
        try:
            yield machine
        finally:
            telling.cancel()
            await _let_executions_end(machine, grace_s)
            await asyncio.to_thread(_log_failures, machine, told)


async def _tell_of_failures(machine: SingleMachine, told: set[str]) -> None:
    """Log each execution that fails: here nobody has an alarm on them."""
    while machine.aws.running:
        await asyncio.sleep(_FAILURES_POLL_S)
        await asyncio.to_thread(_log_failures, machine, told)


def _log_failures(machine: SingleMachine, told: set[str]) -> None:
    if not machine.aws.running:
        return
    states = machine.aws.client("stepfunctions")
    for execution in _executions(states, machine.outputs, "FAILED"):
        arn = execution["executionArn"]
        if arn not in told:
            told.add(arn)
            failed = states.describe_execution(executionArn=arn)
            log.error(
                "execution_failed",
                execution=execution["name"],
                error=failed.get("error"),
                cause=failed.get("cause"),
            )


def _executions(states: Any, outputs: Mapping[str, str], status: str) -> list[Any]:
    """The newest executions of the workflows that are followed."""
    return [
        execution
        for output in _FOLLOWED
        for execution in states.list_executions(stateMachineArn=outputs[output], statusFilter=status)[
            "executions"
        ]
    ]


async def _let_executions_end(machine: SingleMachine, grace_s: float) -> None:
    states = machine.aws.client("stepfunctions")

    def count_running() -> int:
        return len(_executions(states, machine.outputs, "RUNNING"))

    running = 0
    try:
        async with asyncio.timeout(grace_s):
            # Nothing tells of it: what is asked is another process.
            while machine.aws.running and (running := await asyncio.to_thread(count_running)):  # noqa: ASYNC110
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        if running:
            log.warning("executions_abandoned", executions=running, waited_s=grace_s)


def create_bot_user(aws: EmbeddedAws, policy_arn: str, name: str) -> Credentials:
    """A user that may do what the policy says and nothing else."""
    iam = aws.client("iam")
    iam.create_user(UserName=name)
    iam.attach_user_policy(UserName=name, PolicyArn=policy_arn)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Credentials(access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"])
