"""A guild with a waiting room: the stand-in, an embedded AWS with admit on it, relays that come and go."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from bot.actions.worker import POLLS
from infra.deploy.definition import parse_definition
from infra.deploy.engine import DEFAULT_STACK_NAME, DeployOptions
from infra.deploy.workflow_stack import OwnWorkflow, deploy_workflow
from infra.local.discord import Channel, Guild, Member, Message, StandIn
from infra.local.machine import SingleMachine, single_machine
from tests.support.output import TOKEN
from tests.support.process import Child, start_relay
from workflow.registry import WORKFLOWS

ACTIONS = "find_person,send,edit,move,disconnect"
MACHINE = f"{DEFAULT_STACK_NAME}-admit"
_HEARTBEAT_S = 2
"""In place of half a minute, so that a worker that was killed is noticed soon."""
_PATIENCE_S = 30.0
_POLL_S = 0.02


@dataclass
class Premises:
    """Discord and AWS, which outlive the relays; ``machine_arn`` is that of admit."""

    discord: StandIn
    machine: SingleMachine
    machine_arn: str

    def settings(self) -> dict[str, str]:
        return {"ACTIONS": ACTIONS, "ACTIVITY_ARN": self.machine.outputs["ActionsActivityArn"]}

    def environment(self) -> dict[str, str]:
        """The bot's own key, and where AWS is."""
        return {
            "AWS_ACCESS_KEY_ID": self.machine.credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.machine.credentials.secret_access_key,
            "AWS_DEFAULT_REGION": self.machine.region,
            "AWS_ENDPOINT_URL_SFN": self.machine.aws.endpoint_url,
        }

    def relay(
        self, directory: Path, rules: str, api_endpoint: str | None = None
    ) -> AbstractAsyncContextManager[Child]:
        """Start a relay in *directory*, with the data of the one before it there."""
        (directory / "rules.toml").write_text(rules)
        return start_relay(
            directory,
            discord_api_url=self.discord.api_url,
            token=TOKEN,
            api_endpoint=api_endpoint or self.machine.api_endpoint,
            credentials=self.environment(),
            settings={"RULES_FILE": "rules.toml", **self.settings()},
        )

    def forget_dead_polls(self) -> None:
        """Let the polls of a worker that was killed have tasks that nobody misses; call it while none runs.

        AWS may hand a task to a poll whose worker is gone; it is repeated once its heartbeat is missed, which
        would be all that a test sees. A poll of our own is served after those.
        """
        states = self.machine.aws.client("stepfunctions")
        activity = self.machine.outputs["ActionsActivityArn"]
        task = {"Type": "Task", "Resource": activity, "TimeoutSeconds": 1, "End": True}
        branch = {"StartAt": "Useless", "States": {"Useless": task}}
        definition = {
            "StartAt": "Many",
            "States": {"Many": {"Type": "Parallel", "Branches": [branch] * (POLLS + 1), "End": True}},
        }
        machine = states.create_state_machine(
            name=f"useless-{uuid.uuid4().hex}",
            definition=json.dumps(definition),
            roleArn=states.describe_state_machine(stateMachineArn=self.machine_arn)["roleArn"],
        )["stateMachineArn"]
        execution = states.start_execution(stateMachineArn=machine)["executionArn"]
        while (got := states.get_activity_task(activityArn=activity)).get("input") != "{}":
            # One that is missed; what may pass is tried again.
            states.send_task_failure(taskToken=got["taskToken"], error="Discord.Unavailable")
        states.stop_execution(executionArn=execution)

    def describe_all(self) -> list[dict[str, Any]]:
        """Every execution of admit."""
        states = self.machine.aws.client("stepfunctions")
        pages = states.get_paginator("list_executions").paginate(stateMachineArn=self.machine_arn)
        listed = [execution for page in pages for execution in page["executions"]]
        return [states.describe_execution(executionArn=each["executionArn"]) for each in listed]


@asynccontextmanager
async def open_premises() -> AsyncIterator[Premises]:
    async with StandIn(token=TOKEN, webhook_limit=None) as discord:
        webhook = pydantic.SecretStr(discord.add_webhook("voice").url)
        async with single_machine(
            webhook_url=webhook, parameters={"Actions": "true"}, wait_scale=0.1
        ) as machine:
            outputs = await asyncio.to_thread(_deploy_admit, machine)
            yield Premises(discord, machine, outputs["StateMachineArn"])


def _deploy_admit(machine: SingleMachine) -> dict[str, str]:
    text = WORKFLOWS["admit"].definition.read_text(encoding="utf-8")
    hasty = text.replace('"HeartbeatSeconds": 30', f'"HeartbeatSeconds": {_HEARTBEAT_S}')
    assert hasty != text
    workflow = OwnWorkflow(parse_definition(hasty, where="admit", name="admit", values={}))
    return deploy_workflow(
        machine.aws.client, workflow, relay_stack=DEFAULT_STACK_NAME, options=DeployOptions(poll_s=0.02)
    )


class Hall:
    """One guild of *discord*, with people who may decide and one who may not."""

    def __init__(self, discord: StandIn) -> None:
        self.discord = discord
        self.guild: Guild = discord.world.add_guild("Base")
        self.room: Channel = self.guild.add_voice_channel("waiting room")
        self.target: Channel = self.guild.add_voice_channel("lounge")
        self.staff: Channel = self.guild.add_text_channel("staff")
        deciding, second = self.guild.add_role("deciding"), self.guild.add_role("second")
        self.first_role, self.second_role = deciding, second
        self.molly: Member = self.guild.add_member("molly", roles=[deciding])
        self.otto: Member = self.guild.add_member("otto", roles=[deciding])
        self.second: Member = self.guild.add_member("pim", roles=[second])
        self.stranger: Member = self.guild.add_member("stranger")
        self.nelly: Member = self.guild.add_member("nelly")

    def rules(self, *, escalates: bool = False, **more: Any) -> str:
        """The rules of this guild; with *escalates*, the second role is asked as well."""
        parameters = {
            "target_channel": self.target.id,
            "staff_channel": self.staff.id,
            "deciding_roles": [self.first_role.id],
            **({"escalation_role": self.second_role.id} if escalates else {}),
            **more,
        }
        lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in parameters.items())
        return f"""
[[rule]]
entering = ["{self.room.id}"]
workflow = "admit"
[rule.parameters]
{lines}

[[rule]]
leaving = ["{self.room.id}"]
workflow = "admit"
signal = "withdraw"
"""

    def cards(self) -> list[Message]:
        return self.discord.chat.messages(self.staff, deleted=True)

    async def wait_for_card(self, count: int = 1) -> Message:
        """Wait until so many messages stand in the staff channel; return the last."""
        await self.discord.wait_until(lambda: len(self.cards()) >= count, _PATIENCE_S, "the card")
        return self.cards()[-1]

    async def wait_closed(self, card: Message) -> str:
        """Wait until the card has no buttons any more; return what it says then."""
        await self.discord.wait_until(lambda: not card.buttons, _PATIENCE_S, "the card's end")
        return read_card(card)

    @property
    def moves(self) -> list[str | None]:
        """The reasons of the bot's moves and disconnects in the audit log."""
        moved = ("member_move", "member_disconnect")
        return [entry.reason for entry in self.guild.audit_log if entry.action in moved]


class WaitingRoom(Hall):
    """One guild on the *premises*, whose executions can be asked about."""

    def __init__(self, premises: Premises) -> None:
        super().__init__(premises.discord)
        self.premises = premises

    async def wait_deciding(self, card: Message) -> None:
        """Wait until the card's execution has written down that it waits."""
        table = self.premises.machine.outputs["WaitsTableName"]
        dynamodb = self.premises.machine.aws.client("dynamodb")
        key = {"name": {"S": execution_of(card)}}
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                if "Item" in await asyncio.to_thread(dynamodb.get_item, TableName=table, Key=key):
                    return
                await asyncio.sleep(_POLL_S)

    async def wait_ended(self) -> dict[str, Any]:
        """Wait until this guild's latest execution has ended; return its description, output read."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            mine = await asyncio.to_thread(self.executions)
            if mine and all(each["status"] != "RUNNING" for each in mine):
                found = max(mine, key=lambda each: each["startDate"])
                return found | {"output": json.loads(found.get("output") or "null")}
            assert time.monotonic() < deadline, [each["status"] for each in mine]
            await asyncio.sleep(_POLL_S)

    def executions(self) -> list[dict[str, Any]]:
        return [each for each in self.premises.describe_all() if self.guild.id in each["input"]]


def execution_of(card: Message) -> str:
    """The name of the execution that the card's first version belongs to."""
    rows = card.versions[0]["components"]
    return str(rows[0]["components"][0]["custom_id"]).rpartition(":")[2]


def read_card(card: Message) -> str:
    (embed,) = card.body["embeds"]
    return str(embed["description"])
