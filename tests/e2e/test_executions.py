"""Executions shown, stopped and timed by the real command line, on the real templates.

One embedded AWS serves all tests, with two callers: the bot and an operator.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pydantic
import pytest
import pytest_asyncio
from botocore.credentials import ReadOnlyCredentials

from bot.api.target import FixedCredentials, Target
from bot.cli.execution import open_executions
from bot.cli.send_test import Options, send_test
from bot.errors import Rejected
from infra.local.aws.credentials import Credentials
from infra.local.discord import StandIn, Webhook
from infra.local.machine import SingleMachine, create_bot_user, single_machine
from tests.support.consoles import RecordingConsole
from tests.support.crowd import add_guilds
from tests.support.output import TOKEN, check_output
from tests.support.process import Child, start_child, start_relay
from tests.support.waiting import start_waiting_execution, wait_for_token

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Stack:
    """The deployed relay, and its two callers."""

    machine: SingleMachine
    standin: StandIn
    webhook: Webhook
    operator: Credentials

    async def run(
        self, directory: Path, *arguments: str, who: Credentials | None = None, code: int = 0
    ) -> Child:
        """Run ``voice-relay`` as *who*, by default the bot, without any setting of Discord's."""
        key = who or self.machine.credentials
        environment = {
            "VOICE_RELAY_API_ENDPOINT": self.machine.api_endpoint,
            "VOICE_RELAY_DATA_DIR": str(directory / "data"),
            **environment_of(key),
        }
        async with start_child(["-m", "bot.cli", *arguments], directory, environment) as child:
            ended = await child.wait(60)
        check_output(child, [key.secret_access_key, self.webhook.token])
        assert ended == code, child.stdout + child.stderr
        return child

    def target(self, who: Credentials | None = None) -> Target:
        key = who or self.machine.credentials
        credentials = ReadOnlyCredentials(key.access_key_id, key.secret_access_key, None)
        return Target(self.machine.api_endpoint, self.machine.region, FixedCredentials(credentials))


def environment_of(key: Credentials) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with StandIn(token=TOKEN, webhook_limit=None) as standin:
        webhook = standin.add_webhook("voice")
        async with single_machine(webhook_url=pydantic.SecretStr(webhook.url)) as machine:
            policy = machine.outputs["OperatorPolicyArn"]
            operator = await asyncio.to_thread(create_bot_user, machine.aws, policy, "operator")
            yield Stack(machine, standin, webhook, operator)


async def test_follows_test_event_to_end(stack: Stack, tmp_path: Path) -> None:
    """After that there is nothing to stop."""
    child = await stack.run(tmp_path, "send-test", "--wait")
    facts = dict(line.split("  ", 1) for line in child.stdout.splitlines())
    arn = facts["execution"]
    assert facts["request"].strip().startswith("accepted in ")
    assert "agrees with this machine's" in facts["started"]
    assert " by AWS's clock, after 0." in facts["ended"]
    assert facts["result"].strip() == "SUCCEEDED: Discord has accepted the message"
    assert "by this machine's clock" in facts["total"]
    found = read_json(await stack.run(tmp_path, "status", arn, "--json"))
    assert (found["executionArn"], found["status"], found["output"]) == (arn, "SUCCEEDED", {"posted": 1})
    assert found["startDate"] < found["stopDate"]
    child = await stack.run(tmp_path, "stop", arn, "--yes", who=stack.operator)
    assert child.stdout.startswith(f"nothing to stop: {found['name']} had ended as SUCCEEDED, ")


async def test_refused_test_event_names_remedy(stack: Stack, tmp_path: Path) -> None:
    stack.webhook.fail_next(1, 404, {"message": "Unknown Webhook", "code": 10015})
    child = await stack.run(tmp_path, "send-test", "--wait", code=1)
    assert "voice-relay: the execution ended as FAILED: ApiGateway.404: " in child.stderr
    assert "voice-relay deploy --renew-webhook default" in child.stderr
    assert "SUCCEEDED" not in child.stdout
    status = await stack.run(tmp_path, "status", child.stdout.split()[1], code=1)
    assert "  error    ApiGateway.404" in status.stdout.splitlines()
    assert "10015" in status.stdout


async def test_unknown_destination_names_remedy(stack: Stack, tmp_path: Path) -> None:
    child = await stack.run(tmp_path, "send-test", "--wait", "--destination", "raid", code=1)
    remedy = "the stack has no destination raid: voice-relay deploy --destination raid"
    assert child.stderr.splitlines()[-1] == f"voice-relay: {remedy}"
    status = await stack.run(tmp_path, "status", child.stdout.split()[1], code=1)
    assert remedy in status.stderr


async def test_only_operator_may_stop(stack: Stack, tmp_path: Path) -> None:
    """An execution that takes minutes is started, shown, waited for and stopped."""
    arn = (await stack.run(tmp_path, "send-test", "--workflow", "digest")).stdout.strip()
    running = await stack.run(tmp_path, "status", arn, "--wait", "--timeout", "0.5", code=1)
    assert "  status   RUNNING" in running.stdout.splitlines()
    assert "the execution was still running after 0.5 s" in running.stderr
    refused = await stack.run(tmp_path, "stop", arn, "--yes", code=1)
    assert "403" in refused.stderr
    assert "OperatorPolicyArn" in refused.stderr
    stopped = await stack.run(tmp_path, "stop", arn, "--yes", who=stack.operator)
    assert stopped.stdout.startswith(f"stopped: {arn.rpartition(':')[2]}, ")
    ended = await stack.run(tmp_path, "status", arn, "--wait", "--json", code=1)
    found = read_json(ended)
    assert (found["status"], found["error"]) == ("ABORTED", "StoppedByCaller")
    assert found["cause"].endswith("user/operator")
    assert found["input"]["id"] == found["name"]
    assert "ended as ABORTED" in ended.stderr


async def test_operator_lets_execution_go_on(stack: Stack, tmp_path: Path) -> None:
    """Where its workflow says so, and once; the operator's own policy does not reach so far."""
    aws, outputs = stack.machine.aws, stack.machine.outputs
    allowed = {"admit": {"operator": True}, "decline": {"relay": True}}
    arn = await asyncio.to_thread(start_waiting_execution, aws, outputs, [allowed])
    name = arn.rpartition(":")[2]
    await asyncio.to_thread(wait_for_token, aws, outputs, name)

    refused = await stack.run(tmp_path, "signal", name, "admit", who=stack.operator, code=1)
    assert "403" in refused.stderr
    assert "bot policy" in refused.stderr
    wrong = await stack.run(tmp_path, "signal", name, "decline", code=1)
    assert f"{name} takes no 'decline' from an operator" in wrong.stderr
    done = await stack.run(tmp_path, "signal", arn, "admit", "--data", '{"note": "welcome"}')
    assert done.stdout == f"signalled: {name} goes on with 'admit'\n"
    late = await stack.run(tmp_path, "signal", name, "admit", code=1)
    assert f"{name} has been decided already: 'admit' by an operator, " in late.stderr
    unknown = await stack.run(tmp_path, "signal", "nobody", "admit", code=1)
    assert "nobody does not wait for a signal" in unknown.stderr
    ended = await asyncio.to_thread(aws.client("stepfunctions").describe_execution, executionArn=arn)
    result = orjson.loads(ended["output"])
    assert (result["signal"], result["data"], result["by"]) == (
        "admit",
        {"note": "welcome"},
        {"kind": "operator"},
    )


async def test_refuses_foreign_executions(stack: Stack) -> None:
    machine = stack.machine.outputs["NotifyStateMachineArn"].replace(":stateMachine:", ":execution:")
    async with open_executions(stack.target(stack.operator)) as executions:
        for ask in (executions.describe, executions.stop):
            with pytest.raises(Rejected, match="no such execution"):
                await ask(f"{machine}:nobody")
            with pytest.raises(Rejected, match="it is not an execution of the stack's workflows"):
                await ask(f"{machine}-of-others:x")


@pytest.mark.parametrize(
    ("workflow", "words"),
    [("heartbeat", "is an Express workflow"), ("notfy", "the workflow notfy (did you mean notify?)")],
)
async def test_unfollowable_test_event_says_why(stack: Stack, workflow: str, words: str) -> None:
    console = RecordingConsole()
    try:
        assert await send_test(Options(workflow=workflow, wait=True), stack.target(), console) == 1
    except Rejected as error:
        console.hint(str(error))
    (hint,) = console.hints
    assert words in hint


async def test_single_machine_times_test_event(stack: Stack, tmp_path: Path) -> None:
    """On an embedded AWS that lives as long as the command, which waits; without Discord's token."""
    settings = {"VOICE_RELAY_WEBHOOK_URL": stack.webhook.url}
    async with start_child(["-m", "bot.cli", "send-test"], tmp_path, settings) as child:
        assert await child.wait(60) == 0
    check_output(child, [stack.webhook.token])
    assert "SUCCEEDED: Discord has accepted the message" in child.stdout


async def test_single_machine_stops_waiting(tmp_path: Path) -> None:
    """The workflow keeps trying to post for longer, but the command does not wait for that in silence."""
    settings = {"VOICE_RELAY_WEBHOOK_URL": "http://127.0.0.1:9/api/webhooks/1/token"}
    command = ["-m", "bot.cli", "send-test", "--wait", "--timeout", "0.5"]
    async with start_child(command, tmp_path, settings) as child:
        assert await child.wait(60) == 1
    assert "the execution was still running after 0.5 s; the webhook" in child.stderr


async def test_relay_reads_key_from_file(stack: Stack, tmp_path: Path) -> None:
    """As after ``deploy --create-access-key``, with nothing in the environment; ``status`` finds the name."""
    (guild,) = add_guilds(stack.standin, 1)
    lines = [f"{name}={value}\n" for name, value in environment_of(stack.machine.credentials).items()]
    (tmp_path / ".env").write_text("".join(lines))
    async with start_relay(
        tmp_path,
        discord_api_url=stack.standin.api_url,
        token=TOKEN,
        api_endpoint=stack.machine.api_endpoint,
        credentials={},
        settings={"HEARTBEAT_S": "1"},
    ) as relay:
        await stack.standin.wait_connected(20)
        member = next(member for member in guild.members.values() if not member.user.bot)
        await guild.join(member, next(iter(guild.channels.values())))
        (delivered,) = await relay.wait_for_log("batch_delivered")
        await relay.wait_for_log("heartbeat_accepted")
        relay.terminate()
        assert await relay.wait() == 0
    check_output(relay, [stack.machine.credentials.secret_access_key])
    named = await stack.run(tmp_path, "status", delivered["execution"], "--wait", "--json")
    event = read_json(named)["input"]["events"][0]
    assert event["data"]["user"]["id"] == member.id
    (tmp_path / "event.json").write_bytes(orjson.dumps(event))
    checked = await stack.run(tmp_path, "rules", "check", "--event", "event.json")
    assert checked.stdout.endswith("It goes to notify/default.\n")


def read_json(child: Child) -> Any:
    return orjson.loads(child.stdout)
