"""Workflows that hand actions to the bot, on an AWS that checks signatures and policies.

The worker, its requests and the stack are the real ones. What the action does is the test's.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.credentials import ReadOnlyCredentials

from bot.actions.refusal import ActionError
from bot.actions.worker import Worker
from bot.api.activities import GONE, Activities
from bot.api.target import FixedCredentials, Target
from bot.errors import Rejected, TemporaryFailure, Unauthorized
from infra.local.aws import EmbeddedAws
from infra.local.aws.credentials import Credentials
from tests.integration.infra.activities import start_task
from tests.integration.infra.relay import Relay, Webhook, new_relay, unique, wait_for_execution

Perform = Callable[[str], Awaitable[dict[str, Any]]]

CATCH = [{"ErrorEquals": ["Discord.NotInVoice"], "Next": "Caught", "Output": "{% $states.errorOutput %}"}]
RETRY = [{"ErrorEquals": ["States.Timeout", "States.HeartbeatTimeout"], "MaxAttempts": 9}]


@pytest.fixture(scope="module")
def relay() -> Iterator[Relay]:
    with EmbeddedAws(wait_scale=0) as aws, Webhook() as webhook:
        yield new_relay(aws, webhook, parameters={"Actions": "true"})


@dataclass(frozen=True)
class Stage:
    """A stack with an activity."""

    relay: Relay

    @property
    def activity(self) -> str:
        return self.relay.outputs["ActionsActivityArn"]

    @contextlib.asynccontextmanager
    async def calls(self, who: Credentials | None = None) -> AsyncIterator[Activities]:
        """The activity's calls, signed by *who*, by default the bot."""
        key = who or self.relay.bot
        credentials = ReadOnlyCredentials(key.access_key_id, key.secret_access_key, key.session_token)
        target = Target("https://unused.invalid", self.relay.aws.region, FixedCredentials(credentials))
        async with Activities(target, self.activity, self.relay.aws.endpoint_url) as activities:
            yield activities

    @contextlib.asynccontextmanager
    async def worker(self, perform: Perform) -> AsyncIterator[Worker]:
        """A worker that takes tasks; on the way out it is gone at once, as after a kill."""
        async with self.calls() as activities, asyncio.TaskGroup() as tasks:
            worker = Worker(activities, perform, tasks.create_task)
            worker.start()
            yield worker
            await worker.close(0.0)

    async def start(self, **task: Any) -> str:
        return await asyncio.to_thread(start_task, self.relay.aws, self.activity, **task)

    async def end(self, arn: str) -> dict[str, Any]:
        return await asyncio.to_thread(wait_for_execution, self.relay.aws, arn)


@pytest.fixture
def stage(relay: Relay) -> Stage:
    return Stage(relay)


async def test_workflow_gets_the_output(stage: Stage) -> None:
    given: list[Any] = []

    async def perform(text: str) -> dict[str, Any]:
        given.append(json.loads(text))
        return {"channel_id": "20"}

    async with stage.worker(perform):
        arn = await stage.start(Arguments={"action": "move", "key": "{% $states.context.Execution.Name %}"})
        ended = await stage.end(arn)

    assert (ended["status"], json.loads(ended["output"])) == ("SUCCEEDED", {"channel_id": "20"})
    assert given == [{"action": "move", "key": ended["name"]}]


async def test_workflow_catches_refusal_by_name(stage: Stage) -> None:
    async def perform(_: str) -> dict[str, Any]:
        raise ActionError("Discord.NotInVoice", "they left")

    async with stage.worker(perform):
        caught = await stage.end(await stage.start(Catch=CATCH))

    assert json.loads(caught["output"]) == {"Error": "Discord.NotInVoice", "Cause": "they left"}


async def test_other_refusal_fails_the_workflow(stage: Stage) -> None:
    async def perform(_: str) -> dict[str, Any]:
        raise ActionError("Discord.MissingPermissions", "no")

    async with stage.worker(perform):
        failed = await stage.end(await stage.start(Catch=CATCH))

    assert (failed["status"], failed["error"]) == ("FAILED", "Discord.MissingPermissions")


async def test_dead_workers_action_is_repeated(stage: Stage) -> None:
    """The heartbeats end with the worker, and the task goes to another."""
    began = asyncio.Event()

    async def die(_: str) -> dict[str, Any]:
        began.set()
        await asyncio.Event().wait()
        return {}

    async def perform(_: str) -> dict[str, Any]:
        return {"by": "another"}

    async with stage.worker(die):
        arn = await stage.start(HeartbeatSeconds=1, TimeoutSeconds=600, Retry=RETRY)
        await began.wait()
    async with stage.worker(perform):
        ended = await stage.end(arn)

    assert json.loads(ended["output"]) == {"by": "another"}


async def test_bot_that_is_away_is_waited_for(stage: Stage) -> None:
    """Neither of the task's own limits counts before a worker has it."""

    async def perform(_: str) -> dict[str, Any]:
        return {"late": True}

    arn = await stage.start(HeartbeatSeconds=1, TimeoutSeconds=2, limit_s=600)
    describe = stage.relay.aws.client("stepfunctions").describe_execution
    await asyncio.sleep(3)
    assert (await asyncio.to_thread(describe, executionArn=arn))["status"] == "RUNNING"

    async with stage.worker(perform):
        assert json.loads((await stage.end(arn))["output"]) == {"late": True}


async def test_wait_for_the_bot_is_bounded(stage: Stage) -> None:
    arn = await stage.start(limit_s=1)

    assert (await stage.end(arn))["status"] == "TIMED_OUT"


async def test_late_report_is_told_apart(stage: Stage) -> None:
    async with stage.calls() as calls:
        mine = unique("task")
        arn = await stage.start(HeartbeatSeconds=1, TimeoutSeconds=600, Arguments={"mine": mine})
        task = await calls.poll()
        # Another test may have left one behind.
        while task is None or mine not in task.input:
            task = await calls.poll()
        await stage.end(arn)
        for report in (
            calls.heartbeat(task.token),
            calls.succeed(task.token, {}),
            calls.fail(task.token, "Discord.Refused", "x"),
        ):
            with pytest.raises(Rejected) as refusal:
                await report
            assert refusal.value.code in GONE
            assert task.token not in str(refusal.value)


async def test_nobody_else_may_take_actions(stage: Stage) -> None:
    async with stage.calls(stage.relay.operator) as calls:
        with pytest.raises(Unauthorized, match="parameter Actions on"):
            await calls.poll()
        for report in (calls.heartbeat("x"), calls.succeed("x", {}), calls.fail("x", "y", "z")):
            with pytest.raises(Unauthorized):
                await report


async def test_unreachable_is_temporary(stage: Stage) -> None:
    key = ReadOnlyCredentials("AKIA0000000000000000", "secret", None)
    target = Target("https://unused.invalid", "us-east-1", FixedCredentials(key))
    async with Activities(target, stage.activity, "http://127.0.0.1:9") as calls:
        with pytest.raises(TemporaryFailure):
            await calls.poll()


def test_stack_without_actions_has_no_activity(relay: Relay) -> None:
    other = new_relay(relay.aws, relay.webhook)

    assert "ActionsActivityArn" not in other.outputs
    policy = relay.aws.client("iam").get_policy_version(
        PolicyArn=other.outputs["BotPolicyArn"], VersionId="v1"
    )
    assert "states:" not in json.dumps(policy["PolicyVersion"]["Document"], default=str)
